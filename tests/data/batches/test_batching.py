"""How texts and samples are dealt: everything once, equal numbers of micro-batches, budgets kept, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.data.batches.batching import SMALLEST_GROUP_TOKENS, Limits, TextDealing, cut, deal, deal_by_length, frame
from textssl.sample_types import RowFormat, Views, content_key

LENGTHS = st.lists(st.integers(1, 400), min_size=1, max_size=80)
WORLDS = st.integers(1, 5)
LIMITS = st.builds(
    Limits,
    texts=st.none() | st.integers(1, 20),
    tokens=st.none() | st.integers(1, 3000),
    slack=st.sampled_from([0.0, 0.85]),
)


def realistic(count=512, seed=0):
    """Lengths of sentences: mostly 10 to 40 tokens, a few far longer."""
    lengths = np.random.default_rng(seed).lognormal(3.0, 0.6, count).astype(np.int64)
    return np.clip(lengths, 3, 128)


@given(LENGTHS, WORLDS, LIMITS)
def test_every_text_is_dealt_once_and_ranks_have_equal_numbers_of_micro_batches(lengths, world, limits):
    lengths = np.array(lengths)
    shares = [deal_by_length(lengths, world, rank, limits) for rank in range(world)]
    dealt = np.concatenate([group for share in shares for group in share])
    assert sorted(dealt.tolist()) == list(range(len(lengths)))
    assert len({len(share) for share in shares}) == 1 and len(shares[0]) >= 1
    again = [deal_by_length(lengths, world, rank, limits) for rank in range(world)]
    assert [[g.tolist() for g in share] for share in again] == [[g.tolist() for g in share] for share in shares]


@given(LENGTHS, WORLDS, LIMITS)
def test_limits_hold_for_every_micro_batch(lengths, world, limits):
    lengths = np.array(lengths)
    for rank in range(world):
        for group in deal_by_length(lengths, world, rank, limits):
            if limits.texts is not None:
                assert len(group) <= limits.texts
            if limits.tokens is not None and len(group) > 1:
                assert len(group) * lengths[group].max() <= limits.tokens


@given(LENGTHS, LIMITS)
def test_runs_cover_the_texts_in_order_and_are_never_empty(lengths, limits):
    bounds = cut(np.array(sorted(lengths, reverse=True)), limits)
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == len(lengths) and all(start < stop for start, stop in bounds)


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("tokens", [None, 4096])
@pytest.mark.parametrize("count, most", [(512, 0.12), (2048, 0.08)])
def test_little_is_padding_where_lengths_are_those_of_sentences(world, tokens, count, most):
    lengths = realistic(count)
    groups = [g for rank in range(world) for g in deal_by_length(lengths, world, rank, Limits(tokens=tokens))]
    places = sum(len(group) * int(lengths[group].max()) for group in groups if len(group))
    assert 1 - lengths.sum() / places < most
    assert 1 - lengths.sum() / (len(lengths) * lengths.max()) > 0.8  # all in one rectangle
    assert len(groups) <= 2 * lengths.sum() / SMALLEST_GROUP_TOKENS + world  # and not in crumbs


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_have_about_equal_work(world):
    lengths = realistic(2048)
    work = [
        sum(int(lengths[group].sum()) for group in deal_by_length(lengths, world, rank, Limits()))
        for rank in range(world)
    ]
    assert max(work) < 1.25 * min(work)


def test_without_padding_there_is_one_group_whatever_the_lengths():
    lengths = realistic()
    (group,) = deal_by_length(lengths, 1, 0, Limits(slack=0.0))
    assert len(group) == len(lengths)
    assert len(deal_by_length(lengths, 1, 0, Limits())) > 1


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_texts_than_ranks_leave_some_ranks_empty(count):
    shares = [deal_by_length(np.full(count, 7), 4, rank, Limits()) for rank in range(4)]
    assert [len(share) for share in shares] == [1] * 4
    assert sorted(len(share[0]) for share in shares) == [0] * (4 - count) + [1] * count
    assert all(share[0].dtype == np.int64 for share in shares)


@given(st.integers(1, 60), WORLDS, st.none() | st.integers(1, 20))
def test_rows_are_dealt_in_contiguous_shares(count, world, micro):
    shares = [deal(count, world, rank, micro) for rank in range(world)]
    assert [place for share in shares for part in share for place in part] == list(range(count))
    assert len({len(share) for share in shares}) == 1
    assert micro is None or max(len(part) for share in shares for part in share) <= micro


FORM = RowFormat(prefix=(1,), suffix=(2,))


def views(lengths, holes=False):
    rng = np.random.default_rng(0)
    return [
        Views([rng.integers(5, 99, a), rng.integers(5, 99, b), None if holes and place % 2 else np.array([7])], place)
        for place, (a, b) in enumerate(lengths)
    ]


@pytest.mark.parametrize("world, texts", [(1, None), (1, 3), (2, 3), (3, None)])
def test_framed_texts_keep_their_places_sources_and_tokens(world, texts):
    samples = views([(3, 9), (12, 1), (30, 30), (4, 4), (2, 8)], holes=True)
    dealing = TextDealing(FORM, 16, Limits(texts=texts))
    found = {}
    for rank in range(world):
        for batch in dealing.deal(samples, world, rank):
            starts = np.cumsum([0, *batch.lengths.tolist()])
            assert starts[-1] == len(batch.ids) == batch.tokens
            for at, place in enumerate(batch.samples.tolist()):
                ids = batch.ids[starts[at] : starts[at + 1]].numpy()
                assert batch.source[at] == place // 3 and batch.text[at] == content_key(ids)
                found[place] = ids.tolist()
    expected = {
        sample * 3 + view: [1, *ids[:14].tolist(), 2]
        for sample, one in enumerate(samples)
        for view, ids in enumerate(one.texts)
        if ids is not None
    }
    assert found == expected and len(found) == 13


def test_a_text_is_cut_to_its_length_and_the_special_tokens_stay():
    ids = np.arange(10, 20)
    assert frame(ids, FORM, 6).tolist() == [1, 10, 11, 12, 13, 2]
    assert frame(ids, RowFormat(), 6).tolist() == [10, 11, 12, 13, 14, 15]
    assert frame(ids, FORM, 99).tolist() == [1, *ids.tolist(), 2] and frame(ids, FORM, 99).dtype == np.int64
