"""Where words begin in a text for byte-level BPE: what GPT-2's regular expression finds, computed on arrays.

The expression is `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`. A word of it
is a run of letters, of numbers or of other signs, with the space before it; of several whitespace characters all but
the last are one word. Whether a character is a letter, a number or whitespace is found by asking the library, once.
"""

from __future__ import annotations

import numpy as np
from tokenizers import pre_tokenizers

WHITESPACE, LETTER, NUMBER, OTHER, UNSEEN = range(5)
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

    def starts(self, codes: np.ndarray, first: np.ndarray) -> np.ndarray:
        """(characters,) bool: where a word begins.

        codes: (characters,) code points of all texts. first: (characters,) bool, where a text begins.
        """
        classes = self.classes[codes]
        if (unseen := classes == UNSEEN).any():
            self.learn(np.unique(codes[unseen]))
            classes = self.classes[codes]
        starts = first.copy()
        starts[1:] |= classes[1:] != classes[:-1]
        blank = classes == WHITESPACE
        after = 1 + np.flatnonzero(starts[1:] & ~first[1:] & blank[:-1])  # what follows whitespace in the same text
        starts[after - 1] = True  # the last of several is split off
        starts[after[codes[after - 1] == SPACE]] = False  # ... and if it is a space, belongs to what follows
        self.contract(codes, first, starts)
        return starts

    def contract(self, codes: np.ndarray, first: np.ndarray, starts: np.ndarray) -> None:
        """Make 's and the other contractions at the beginning of a word words of their own, in place."""
        places = np.flatnonzero((codes == APOSTROPHE) & starts)
        places = places[places + 1 < len(codes)]
        places = places[~first[places + 1]]
        second = codes[places + 1]
        short = places[np.isin(second, SHORT)]
        rest = places[places + 2 < len(codes)]
        rest = rest[~first[rest + 2]]
        long = rest[pair_in(codes[rest + 1], codes[rest + 2])]
        for found, length in ((short, 2), (long, 3)):
            starts[found + 1] = False
            ends = found + length
            starts[ends[ends < len(codes)]] = True


def pair_in(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found = np.zeros(len(first), dtype=bool)
    for left, right in LONG:
        found |= (first == left) & (second == right)
    return found
