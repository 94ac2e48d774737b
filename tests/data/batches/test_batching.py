"""How texts and samples are dealt: everything once, equal numbers of micro-batches, budgets kept, little padding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.data.batches.batching import (
    SMALLEST_GROUP_TOKENS,
    Limits,
    TextDealing,
    cut,
    deal,
    deal_by_length,
    frame,
    own_share,
)
from textssl.sample_types import RowFormat, Views, content_keys

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


@given(LENGTHS, LIMITS)
def test_every_text_is_dealt_once_and_the_largest_micro_batch_comes_first(lengths, limits):
    lengths = np.array(lengths)
    groups = deal_by_length(lengths, limits)
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(lengths)))
    sizes = [int(lengths[group].sum()) for group in groups]
    assert sizes == sorted(sizes, reverse=True) and min(sizes) > 0


@given(LENGTHS, LIMITS)
def test_limits_hold_for_every_micro_batch(lengths, limits):
    lengths = np.array(lengths)
    for group in deal_by_length(lengths, limits):
        if limits.texts is not None:
            assert len(group) <= limits.texts
        if limits.tokens is not None and len(group) > 1:
            assert len(group) * lengths[group].max() <= limits.tokens


@given(LENGTHS, LIMITS)
def test_runs_cover_the_texts_in_order_and_are_never_empty(lengths, limits):
    bounds = cut(np.array(sorted(lengths, reverse=True)), limits)
    assert [start for start, _ in bounds] == [0, *(stop for _, stop in bounds[:-1])]
    assert bounds[-1][1] == len(lengths) and all(start < stop for start, stop in bounds)


@pytest.mark.parametrize("tokens", [None, 4096])
@pytest.mark.parametrize("count, most", [(512, 0.12), (2048, 0.08)])
def test_little_is_padding_where_lengths_are_those_of_sentences(tokens, count, most):
    lengths = realistic(count)
    groups = deal_by_length(lengths, Limits(tokens=tokens))
    places = sum(len(group) * int(lengths[group].max()) for group in groups if len(group))
    assert 1 - lengths.sum() / places < most
    assert 1 - lengths.sum() / (len(lengths) * lengths.max()) > 0.8  # all in one rectangle
    assert len(groups) <= 2 * lengths.sum() / SMALLEST_GROUP_TOKENS + 1  # and not in crumbs


def test_without_padding_there_is_one_group_whatever_the_lengths():
    lengths = realistic()
    (group,) = deal_by_length(lengths, Limits(slack=0.0))
    assert len(group) == len(lengths)
    assert len(deal_by_length(lengths, Limits())) > 1


@pytest.mark.parametrize("together", [False, True])
def test_without_texts_there_is_one_micro_batch_of_none(together):
    (group,) = deal_by_length(np.zeros(0, np.int64), Limits())
    assert len(group) == 0 and group.dtype == np.int64
    (batch,) = TextDealing(FORM, 16, Limits(), together=together).deal([])
    assert len(batch) == batch.tokens == 0


@given(st.integers(1, 60), WORLDS)
def test_shares_are_neighbours_of_about_one_size(count, world):
    shares = [own_share(count, world, rank) for rank in range(world)]
    assert [place for share in shares for place in share] == list(range(count))
    assert max(map(len, shares)) == -(-count // world)


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
        own = own_share(len(samples), world, rank)
        for batch in dealing.deal(samples[own.start : own.stop], own.start):
            starts = np.cumsum([0, *batch.lengths.tolist()])
            assert starts[-1] == len(batch.ids) == batch.tokens
            for at, place in enumerate(batch.samples.tolist()):
                ids = batch.ids[starts[at] : starts[at + 1]].numpy()
                assert batch.source[at] == place // 3 and batch.text[at] == content_keys(
                    ids, batch.lengths[at : at + 1].numpy()
                )
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
