"""The corruptions: what is lost can be put back, as much is lost as was asked for, and any place may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.sample_types import IGNORE
from textssl.views.denoising import (
    corrupt,
    delete,
    pair,
    permute,
    place,
    poisson,
    poisson_lengths,
    replaced,
    segment_lengths,
    with_sentinels,
)

SENTINELS = np.arange(1000, 1100)
MASK = 999
SETTINGS = {"span_mean": 3.0, "sentinels": SENTINELS, "mask": MASK}


def document(count):
    return np.arange(1, count + 1)


def starts_of(count, every=7):
    return np.arange(count) % every == 0


def shown(ids):
    return [f"<{i - 1000}>" if i >= 1000 else "[]" if i == MASK else int(i) for i in ids]


def test_spans_by_eye():
    source, target = with_sentinels(document(9), np.array([0, 5]), np.array([2, 3]), SENTINELS)
    assert shown(source) == ["<0>", 3, 4, 5, "<1>", 9]
    assert shown(target) == ["<0>", 1, 2, "<1>", 6, 7, 8]


def test_infilling_by_eye():
    """A span of length 0 puts a mask between two tokens (arXiv:1910.13461, section 2.2)."""
    ids = replaced(document(6), np.array([1, 3, 5]), np.array([1, 0, 1]), np.full(3, MASK))
    assert shown(ids) == [1, "[]", 3, "[]", 4, 5, "[]"]


def put_back(source, target):
    """The document, from the encoder's and the decoder's side alone."""
    hidden, key = {}, None
    for number in target.tolist():
        if number >= 1000:
            key, hidden[number] = number, []
        else:
            hidden[key].append(number)
    return [token for number in source.tolist() for token in hidden.get(number, [number])]


@given(st.integers(1, 80), st.floats(0.01, 0.99), st.floats(1, 9), st.integers(0, 2**32))
def test_what_spans_hide_can_be_put_back(count, rate, mean, seed):
    rng = np.random.default_rng(seed)
    options = {**SETTINGS, "span_mean": mean, "rate": rate}
    source, target = corrupt(document(count), starts_of(count), "spans", rng=rng, **options)
    assert put_back(source, target) == document(count).tolist()
    used = source[source >= 1000]
    assert np.array_equal(used, SENTINELS[: len(used)]) and len(used) >= 1
    assert not ((source[:-1] >= 1000) & (source[1:] >= 1000)).any(), "two spans side by side would be one"
    hidden = int((target < 1000).sum())
    assert abs(hidden - rate * count) < 1 or hidden in (1, count)
    assert len(source) <= count


@given(st.integers(1, 80), st.floats(0.01, 0.99), st.floats(1, 9), st.integers(0, 2**32))
def test_infilling_keeps_the_rest_in_order(count, rate, mean, seed):
    rng = np.random.default_rng(seed)
    options = {**SETTINGS, "span_mean": mean, "rate": rate}
    source, target = corrupt(document(count), starts_of(count), "infilling", rng=rng, **options)
    assert np.array_equal(target, document(count))
    kept = source[source != MASK]
    assert (np.diff(kept) > 0).all() and (source == MASK).sum() >= 1
    hidden = count - len(kept)
    assert abs(hidden - rate * count) < 1 or hidden in (1, count)
    assert len(source) <= count


@pytest.mark.parametrize("noise", ["spans", "infilling", "deletion"])
def test_the_mean_rate_is_exact_and_every_place_is_as_likely(noise):
    rng, count, rounds = np.random.default_rng(0), 22, 1500
    lost, spans = np.zeros(count), 0
    for _ in range(rounds):
        source, _ = corrupt(document(count), starts_of(count), noise, rng=rng, rate=0.15, **SETTINGS)
        lost += ~np.isin(document(count), source)
        spans += (source >= MASK).sum()
    assert lost.sum() / rounds == pytest.approx(0.15 * count, rel=0.03)
    rates = lost / rounds
    assert rates[2:-2].max() - rates[2:-2].min() < 0.06
    assert rates.min() > (0.13 if noise == "deletion" else 0.03), "the ends too"
    if noise == "spans":
        assert spans / rounds == pytest.approx(0.15 * count / 3, rel=0.08)


def test_lengths_follow_their_distributions():
    rng = np.random.default_rng(1)
    lengths = np.concatenate([segment_lengths(400, 0.15, 3.0, 100, rng) for _ in range(100)])
    assert lengths.min() == 1 and lengths.mean() == pytest.approx(3.0, rel=0.01)
    assert len(segment_lengths(400, 0.9, 1.0, 5, rng)) == 5, "no more spans than sentinels"
    draws = np.array([poisson(3.0, u) for u in rng.random(8000)])
    expected = np.exp(-3) * np.array([1, 3, 4.5, 4.5, 3.375])  # 3^k / k!
    assert np.allclose([(draws == k).mean() for k in range(5)], expected, atol=0.02)
    spans = np.concatenate([poisson_lengths(4000, 0.3, 3.0, rng) for _ in range(8)])
    assert (spans == 0).mean() == pytest.approx(np.exp(-3), abs=0.02) and spans.mean() == pytest.approx(3.0, rel=0.03)
    assert poisson(3.0, 1.0) < 100, "a number that rounds to 1 ends too"


def test_spans_are_placed_in_every_way_alike():
    """Two spans of one token in four: three ways without touching."""
    rng, seen = np.random.default_rng(2), {}
    for _ in range(1200):
        starts = tuple(place(4, np.array([1, 1]), rng).tolist())
        seen[starts] = seen.get(starts, 0) + 1
    assert set(seen) == {(0, 2), (0, 3), (1, 3)} and min(seen.values()) > 300


@given(st.integers(1, 60), st.floats(0.01, 0.99), st.integers(0, 2**32))
def test_deletion_leaves_a_part_in_order_and_never_nothing(count, rate, seed):
    left = delete(document(count), rate, np.random.default_rng(seed))
    assert len(left) >= 1 and (np.diff(left) > 0).all() and set(left) <= set(document(count))


def test_sentences_stay_whole_under_permutation():
    ids, starts = document(9), np.isin(np.arange(9), [0, 3, 7])
    sentences, seen = [(1, 2, 3), (4, 5, 6, 7), (8, 9)], set()
    rng = np.random.default_rng(3)
    for _ in range(200):
        left, order = permute(ids, starts, rng).tolist(), []
        while left:
            (sentence,) = [one for one in sentences if one[0] == left[0]]
            assert tuple(left[: len(sentence)]) == sentence
            order.append(sentence[0])
            left = left[len(sentence) :]
        seen.add(tuple(order))
    assert len(seen) == 6, "all orders"
    piece = np.arange(9) == 4  # a piece of a document may begin inside a sentence
    assert sorted(permute(ids, piece, rng).tolist()) == ids.tolist()


def test_rotation_begins_anywhere_and_keeps_the_ring():
    rng, firsts = np.random.default_rng(4), set()
    for _ in range(100):
        source, target = corrupt(document(6), starts_of(6), "rotation", rng=rng, rate=0.15, **SETTINGS)
        assert np.array_equal(target, document(6))
        assert np.array_equal(np.roll(source, int(source[0]) - 1), document(6))
        firsts.add(int(source[0]))
    assert firsts == set(range(1, 7))


def test_a_row_of_targets_begins_each_anew_and_is_cut_and_counted():
    end, begin = 50, 51
    sources = [np.array([1, 1000, 2]), np.array([3]), np.array([4])]
    targets = [np.array([1000, 7, 8, end]), np.array([9, end]), np.array([10, 11, end])]
    unwritten = np.array([*SENTINELS, end])
    whole = pair(sources, targets, begin=begin, most=9, unwritten=unwritten)
    assert whole.source.ids.tolist() == [1, 1000, 2, 3, 4] and whole.source.documents.tolist() == [1, 1, 1, 2, 3]
    assert whole.target.ids.tolist() == [begin, 1000, 7, 8, begin, 9, begin, 10, 11]
    assert whole.target.labels is not None and whole.target.labels.tolist() == [1000, 7, 8, end, 9, end, 10, 11, end]
    assert whole.target.positions.tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2]
    assert (whole.text_tokens, whole.cut_tokens) == (5, 0)
    cut = pair(sources, targets, begin=begin, most=5, unwritten=unwritten)
    assert cut.target.ids.tolist() == [begin, 1000, 7, 8, begin]
    assert cut.target.documents.tolist() == [1, 1, 1, 1, 2]
    assert (cut.text_tokens, cut.cut_tokens) == (3, 4)
    nothing = pair([], [], begin=begin, most=5, unwritten=unwritten)
    assert len(nothing.source.ids) == len(nothing.target.ids) == 0 and nothing.cut_tokens == 0
    assert (whole.source.labels == IGNORE).all()
