import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textssl.sample_types import LONGEST_WORD
from textssl.views.masking import choose, hide


def row(rng, length=200):
    """Three documents with special tokens at their ends, then padding; words of 1 to 4 tokens."""
    documents = np.repeat([1, 2, 3, 0], [length // 4] * 4)
    candidates = documents > 0
    edges = np.flatnonzero(np.diff(documents, prepend=0))
    candidates[edges[edges < length]] = False
    return candidates, (rng.random(length) < 0.5) | (np.arange(length) % 4 == 0), documents


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), rate=st.floats(0, 1), unit=st.sampled_from(["token", "word", "span"]))
def test_only_candidates_are_hidden_at_about_the_rate(seed, rate, unit):
    rng = np.random.default_rng(seed)
    candidates, starts, documents = row(rng)
    chosen = choose(candidates, starts, documents, rate=rate, unit=unit, span_mean=3.0, rng=rng)
    assert not (chosen & ~candidates).any()
    wanted = rate * candidates.sum()
    assert abs(chosen.sum() - wanted) <= (1 if unit == "token" else 12)


@pytest.mark.parametrize("unit", ["token", "word", "span"])
@pytest.mark.parametrize("rate", [0.15, 0.3])
def test_the_mean_rate_is_met(unit, rate):
    shares = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        candidates, starts, documents = row(rng)
        chosen = choose(candidates, starts, documents, rate=rate, unit=unit, span_mean=3.0, rng=rng)
        shares.append(chosen.sum() / candidates.sum())
    assert np.mean(shares) == pytest.approx(rate, abs=0.004)


@pytest.mark.parametrize("unit", ["word", "span"])
def test_whole_words_are_hidden(unit):
    for seed in range(50):
        rng = np.random.default_rng(seed)
        candidates, starts, documents = row(rng)
        chosen = choose(candidates, starts, documents, rate=0.3, unit=unit, span_mean=3.0, rng=rng)
        for place in range(1, len(chosen)):
            inside = candidates[place] and candidates[place - 1] and not starts[place]
            if inside and documents[place] == documents[place - 1]:
                assert chosen[place] == chosen[place - 1]


@pytest.mark.parametrize("unit", ["word", "span"])
def test_a_text_without_spaces_is_hidden_in_pieces_at_the_rate(unit):
    candidates = np.ones(200, bool)
    candidates[[0, -1]] = False
    starts = np.arange(200) == 1  # all of a Chinese document may be one word to a tokenizer
    counts, shares = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        chosen = choose(candidates, starts, np.ones(200), rate=0.3, unit=unit, span_mean=3.0, rng=rng)
        counts.append(chosen.sum())
        shares.append(chosen[1:-1])
    assert min(counts) > 40 and np.mean(counts) == pytest.approx(0.3 * 198, rel=0.1)
    assert np.mean(shares, axis=0).min() > 0.05  # every place has its turn
    pieces = chosen[1:-1][:192].reshape(-1, LONGEST_WORD)
    assert (pieces.all(1) | ~pieces.any(1)).all()


def test_spans_are_longer_than_words():
    runs = {}
    for unit in ("token", "span"):
        lengths = []
        for seed in range(100):
            rng = np.random.default_rng(seed)
            candidates = np.ones(400, bool)
            chosen = choose(candidates, candidates, np.ones(400), rate=0.15, unit=unit, span_mean=3.0, rng=rng)
            edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
            lengths += (edges[1::2] - edges[::2]).tolist()
        runs[unit] = np.mean(lengths)
    assert runs["token"] < 1.4
    assert 2.4 < runs["span"] < 4.2  # geometric with mean 3, a little more where spans touch


def test_hidden_places_show_mask_random_and_own_tokens_in_their_shares():
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 1000, 40_000)
    chosen = rng.random(len(ids)) < 0.5
    ordinary = np.arange(5, 1000)
    shown = hide(ids, chosen, mask_id=4, ordinary_ids=ordinary, random_rate=0.1, keep_rate=0.2, rng=rng)
    assert np.array_equal(shown[~chosen], ids[~chosen])
    hidden = shown[chosen]
    assert np.mean(hidden == 4) == pytest.approx(0.7, abs=0.02)
    assert np.mean(hidden == ids[chosen]) == pytest.approx(0.2, abs=0.02)
    assert np.isin(hidden[hidden != 4], ordinary).all()
