"""Groups of pairs that share a text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from textssl.data.labelled.connected import connected, whole_groups

PAIRS = st.lists(st.tuples(st.sampled_from("abcdefghij"), st.sampled_from("abcdefghij")), max_size=30)


def test_groups_reach_through_other_pairs():
    assert connected([("a", "b"), ("c", "d"), ("e", "b"), ("d", "a"), ("f", "f")]) == [[0, 1, 2, 3], [4]]


@given(PAIRS)
def test_groups_share_no_text_and_cannot_be_cut(pairs):
    groups = connected(pairs)
    assert sorted(place for group in groups for place in group) == list(range(len(pairs)))
    texts = [{text for place in group for text in pairs[place]} for group in groups]
    assert sum(map(len, texts)) == len(set().union(*texts)), "a text is in one group"
    for group in groups:
        reached = set(pairs[group[0]])
        for _ in group:
            reached.update(*(pairs[place] for place in group if reached & set(pairs[place])))
        assert all(reached >= set(pairs[place]) for place in group)


@given(PAIRS, st.integers(1, 9))
def test_groups_stay_whole_and_each_stratum_keeps_one(pairs, tenths):
    groups, hashes = connected(pairs), [(place * 7919) % 101 for place in range(len(pairs))]
    strata = [part for part in (list(range(0, len(pairs), 2)), list(range(1, len(pairs), 2))) if part]
    wanted = [min(round(tenths * len(places) / 10), len(places) - 1) for places in strata]
    chosen = whole_groups(groups, strata, wanted, hashes)
    assert all(set(group) <= chosen or not set(group) & chosen for group in groups)
    for places, count in zip(strata, wanted, strict=True):
        assert set(places) - chosen
        if max(map(len, groups)) == 1:
            assert sorted(chosen & set(places)) == sorted(sorted(places, key=lambda place: hashes[place])[:count])


def test_a_group_that_is_mostly_too_much_stays_out_while_others_fill_the_gap():
    groups = [list(range(12)), *([place] for place in range(12, 30))]
    assert whole_groups(groups, [list(range(30))], [7], list(range(30))) == set(range(12, 19))
    assert whole_groups([list(range(12)), [12]], [list(range(13))], [7], list(range(13))) == {12}
