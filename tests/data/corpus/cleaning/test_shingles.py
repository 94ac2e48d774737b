"""Shingles and bands: the sets of a plain reading, and candidates as often as the formula says."""

import numpy as np
import pytest

from tests.tiny import texts
from textssl.data.corpus.cleaning.shingles import bands_of, missed, rows_of, shingled, signatures


def plain_shingles(text: str) -> set[tuple[str, ...]]:
    words = "".join(sign if sign.isalnum() or sign == "_" else " " for sign in text.lower()).split()
    return {tuple(words[start : start + 5]) for start in range(max(1, len(words) - 4))} if words else set()


def test_sets_are_those_of_a_plain_reading():
    documents = [
        *texts()[:30],
        "",
        "...",
        "one",
        "One!",
        "one two three four",
        "One, two; three four five",
        "a b a b a b a b",
    ]
    found = shingled(documents, rows=6)
    expected = [plain_shingles(text) for text in documents]
    assert found.counts.tolist() == list(map(len, expected))
    sets = np.split(found.shingles, np.cumsum(found.counts)[:-1])
    assert all((np.diff(one.astype(np.int64)) > 0).all() for one in sets)
    for left in range(len(documents)):
        for right in range(left):
            assert len(np.intersect1d(sets[left], sets[right])) == len(expected[left] & expected[right])


def test_equal_sets_share_all_bands_and_others_none():
    documents = ["The cat sat on the mat, twice.", "the CAT sat\non the mat twice", "a dog ran over the river at night"]
    bands = shingled(documents, rows=6).bands
    assert bands.shape == (3, 21) and np.array_equal(bands[0], bands[1])
    assert not np.intersect1d(bands[0], bands[2]).size
    assert len(set(bands[0].tolist())) == 21  # two bands of one document never meet


def test_documents_of_a_known_similarity_are_candidates():
    rng, pairs, shared = np.random.default_rng(0), 400, 160
    sets = [np.sort(rng.choice(2**52, 180, replace=False).astype(np.uint64)) for _ in range(pairs)]
    others = []
    for one in sets:  # 160 of 200: a Jaccard similarity of 0.8
        others.append(np.sort(np.append(one[:shared], rng.integers(2**52, size=20, dtype=np.uint64))))
    signs = [signatures(np.full(pairs, 180), np.concatenate(side)) for side in (sets, others)]
    assert abs((signs[0] == signs[1]).mean() - 0.8) < 0.02
    rows = rows_of(0.8)
    bands = [bands_of(side, rows) for side in signs]
    assert rows == 6 and (bands[0] == bands[1]).any(axis=1).mean() > 0.985


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 1.0])
def test_bands_are_as_selective_as_the_recall_allows(threshold):
    rows = rows_of(threshold)
    assert missed(threshold, rows) <= 0.005
    assert rows == 127 or missed(threshold, rows + 1) > 0.005
