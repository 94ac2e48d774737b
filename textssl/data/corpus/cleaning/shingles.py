"""Texts -> sets of shingles (runs of five words, hashed) and MinHash bands of these. Runs in the workers of `prepare`.

Two texts whose shingles have a Jaccard similarity of s share a band of R values with a chance of s**R (MinHash: Broder,
"On the resemblance and containment of documents", 1997; bands: Leskovec et al., "Mining of Massive Datasets", 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from textssl.data.corpus.cleaning.words import (
    HASH_BITS,
    MIXERS,
    Words,
    first_of_equal,
    hash_of_runs,
    mixed,
    owned,
    owned_runs,
    words_of,
)

SHINGLE_WORDS = 5
SIGNATURE_VALUES = 128
SEED = 1
MOST_MISSED = 0.005  # of the pairs that are just as similar as asked for share no band


class Shingled(NamedTuple):
    """What near-duplicates are told by. counts: (documents,) int64 shingles of each, 0 where a text has no word.

    shingles: (all shingles,) uint64 below 2**HASH_BITS, those of each document sorted and once.
    bands: (documents, bands) uint64, equal values where a band of two MinHash signatures is equal.
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
    """(shingles,) uint64: the document in the highest bits, the hash of the words below."""
    lengths = np.bincount(words.owners, minlength=documents)
    firsts = np.cumsum(lengths) - lengths
    parts = [owned_runs(words, SHINGLE_WORDS)[1]]
    for length in range(1, SHINGLE_WORDS):
        short = np.flatnonzero(lengths == length)
        parts.append(owned(short, hash_of_runs(words, firsts[short], length)))
    return np.concatenate(parts)


def signatures(counts: np.ndarray, shingles: np.ndarray) -> np.ndarray:
    """(documents, SIGNATURE_VALUES) uint64: the MinHash signature of each document, by rensa."""
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
    """As many values a band as miss at most MOST_MISSED of the pairs of this similarity: 6 for 0.8, in 21 bands."""
    return max(rows for rows in range(1, SIGNATURE_VALUES) if missed(threshold, rows) <= MOST_MISSED)


def missed(similarity: float, rows: int) -> float:
    """The chance that two documents of this similarity share no band."""
    return (1 - similarity**rows) ** (SIGNATURE_VALUES // rows)
