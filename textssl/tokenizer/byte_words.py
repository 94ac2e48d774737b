"""Where words begin in a text for byte-level BPE: what GPT-2's regular expression finds, computed on arrays.

The expression is `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`. A word of it
is a run of letters, of numbers or of other signs, with the space before it; of several whitespace characters all but
the last are one word. Whether a character is a letter, a number or whitespace is found by asking the library, once.
"""

from __future__ import annotations

import numpy as np
from tokenizers import pre_tokenizers

WHITESPACE, LETTER, NUMBER, OTHER, UNSEEN = range(5)
MOST_BYTES, CONTINUES = 4, 0xC0  # of a character in UTF-8; the bits by which its further bytes are known
SPACE, APOSTROPHE = ord(" "), ord("'")
SHORT = [ord(letter) for letter in "stmd"]  # 's 't 'm 'd
LONG = [(ord(first), ord(second)) for first, second in ("re", "ve", "ll")]
PROBES = (("a", LETTER), ("1", NUMBER), ("!", OTHER))  # a character that is not split from one of these is of its class


class ByteWords:
    """Finds the words of concatenated texts. Remembers the class of every character that it has seen."""

    def __init__(self) -> None:
        self.classes = np.full(0x110000, UNSEEN, dtype=np.uint8)
        self.splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        self.learn(np.arange(128))

    def learn(self, codes: np.ndarray) -> None:
        for code in codes.tolist():
            pairs = ((kind, self.splitter.pre_tokenize_str(probe + chr(code))) for probe, kind in PROBES)
            self.classes[code] = next((kind for kind, pieces in pairs if len(pieces) == 1), WHITESPACE)

    def starts(self, data: np.ndarray, first: np.ndarray) -> np.ndarray:
        """(bytes,) bool: where a word begins.

        data: (bytes,) uint8, all texts in UTF-8. first: (bytes,) bool, where a text begins.
        """
        classes = self.classes[data]
        wide = data >= 0x80  # bytes of characters that have several
        spread = False  # whether one of them is whitespace
        if wide.any():
            kinds, sizes = self.of_wide(data[wide])
            classes[wide] = np.repeat(kinds, sizes)
            spread = bool((kinds == WHITESPACE).any())
        starts = first.copy()
        starts[1:] |= classes[1:] != classes[:-1]
        blank = classes == WHITESPACE
        after = 1 + np.flatnonzero(starts[1:] & ~first[1:] & blank[:-1])  # what follows whitespace in the same text
        last = after - 1
        for _ in range(MOST_BYTES - 1 if spread else 0):
            last -= data[last] & CONTINUES == 0x80
        starts[last] = True  # the last of several is split off
        starts[after[data[last] == SPACE]] = False  # ... and if it is a space, belongs to what follows
        self.contract(data, first, starts)
        return starts

    def of_wide(self, data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classes and bytes of characters of several bytes, (characters,) each. data: (bytes,), of these alone."""
        codes = np.frombuffer(data.tobytes().decode("utf-8").encode("utf-32-le"), "<u4")
        classes = self.classes[codes]
        if (unseen := classes == UNSEEN).any():
            self.learn(np.unique(codes[unseen]))
            classes = self.classes[codes]
        return classes, 2 + (codes >= 0x800) + (codes >= 0x10000)

    def contract(self, data: np.ndarray, first: np.ndarray, starts: np.ndarray) -> None:
        """Make 's and the other contractions at the beginning of a word words of their own, in place."""
        places = np.flatnonzero((data == APOSTROPHE) & starts)
        places = places[places + 1 < len(data)]
        places = places[~first[places + 1]]
        second = data[places + 1]
        short = places[np.isin(second, SHORT)]
        rest = places[places + 2 < len(data)]
        rest = rest[~first[rest + 2]]
        long = rest[pair_in(data[rest + 1], data[rest + 2])]
        for found, length in ((short, 2), (long, 3)):
            starts[found + 1] = False
            ends = found + length
            starts[ends[ends < len(data)]] = True


def byte_places(data: np.ndarray, characters: np.ndarray) -> np.ndarray:
    """Where characters begin among the bytes of a text in UTF-8. characters: their numbers, from 0."""
    leads = np.flatnonzero(data >= 0xC0)
    before = np.zeros(len(leads) + 1, dtype=np.int64)  # bytes beyond one a character
    np.cumsum(1 + (data[leads] >= 0xE0) + (data[leads] >= 0xF0), out=before[1:])
    return characters + before[np.searchsorted(leads - before[:-1], characters)]


def pair_in(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found = np.zeros(len(first), dtype=bool)
    for left, right in LONG:
        found |= (first == left) & (second == right)
    return found
