"""Texts -> sets of shingles (hashed runs of five words) and their MinHash bands. Runs in the workers of `prepare`.

Two texts whose shingles have a Jaccard similarity of s share a given band of R values with probability s**R (MinHash:
Broder, "On the resemblance and containment of documents", 1997; bands: Leskovec et al., "Mining of Massive Datasets",
section 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textssl.data.corpus.cleaning.words import (
    HASH_BITS,
    Words,
    first_of_equal,
    hash_of_runs,
    owned,
    owned_runs,
    words_of,
)
from textssl.sample_types import MIXERS, mixed

SHINGLE_WORDS = 5
SIGNATURE_VALUES = 128
SEED = 1
MOST_MISSED = 0.005  # share of the pairs exactly at the threshold that share no band, and so are missed


class Shingled(NamedTuple):
    """What near-duplicates are found by. counts: (documents,) int64 shingles of each, 0 where a text has no words.

    shingles: (all shingles,) uint64 below 2**HASH_BITS, those of each document sorted and distinct.
    bands: (documents, bands) uint64 hash of each band of the MinHash signature: equal bands have equal hashes.
    """

    counts: np.ndarray
    shingles: np.ndarray
    bands: np.ndarray

    def chosen(self, which: np.ndarray) -> Shingled:
        """Those of the documents that are True in which (documents,)."""
        return Shingled(self.counts[which], self.shingles[np.repeat(which, self.counts)], self.bands[which])


def shingled(texts: Sequence[str], rows: int) -> Shingled:
    """Shingles and bands of `rows` values each. A text of fewer than SHINGLE_WORDS words is one shingle."""
    keys = np.sort(shingle_keys(words_of(texts), len(texts)))
    keys = keys[first_of_equal(keys)]
    counts = np.bincount((keys >> np.uint64(HASH_BITS)).astype(np.int64), minlength=len(texts))
    shingles = keys & np.uint64(2**HASH_BITS - 1)
    return Shingled(counts, shingles, bands_of(signatures(counts, shingles), rows))


def shingle_keys(words: Words, documents: int) -> np.ndarray:
    """(shingles,) uint64: the document in the highest bits, the hash of the words in the others."""
    lengths = np.bincount(words.owners, minlength=documents)
    firsts = np.cumsum(lengths) - lengths
    parts = [owned_runs(words, SHINGLE_WORDS)[1]]
    for length in range(1, SHINGLE_WORDS):
        short = np.flatnonzero(lengths == length)
        parts.append(owned(short, hash_of_runs(words, firsts[short], length)))
    return np.concatenate(parts)


def signatures(counts: np.ndarray, shingles: np.ndarray) -> np.ndarray:
    """(documents, SIGNATURE_VALUES) uint64: the MinHash signature of each document, computed by rensa."""
    from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]

    rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(shingles, rows, num_perm=SIGNATURE_VALUES, seed=SEED)
    return np.array(matrix.to_rows(), dtype=np.uint64).reshape(len(counts), SIGNATURE_VALUES)


def bands_of(signatures: np.ndarray, rows: int) -> np.ndarray:
    """(documents, SIGNATURE_VALUES // rows) uint64: the hash of each band."""
    bands = SIGNATURE_VALUES // rows
    total = np.zeros((len(signatures), bands), dtype=np.uint64)
    for row in range(rows):
        total = mixed(total * MIXERS[0] + signatures[:, row : bands * rows : rows])
    return total


def rows_of(threshold: float) -> int:
    """The most values a band with which at most MOST_MISSED of the pairs at the threshold are missed: 6 for 0.8."""
    return max(rows for rows in range(1, SIGNATURE_VALUES) if missed(threshold, rows) <= MOST_MISSED)


def missed(similarity: float, rows: int) -> float:
    """The probability that two documents of this similarity share no band of `rows` values."""
    return (1 - similarity**rows) ** (SIGNATURE_VALUES // rows)
