"""The tokens of an encoding at which words begin, by the tokenizer's own pre-tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tokenizers import Encoding, Tokenizer

SPACE_MARKERS = ("▁", "Ġ", " ")  # SentencePiece, byte-level BPE, plain


class WordFinder:
    """Says which tokens start a word.

    A word is what the pre-tokenizer hands to the model in one piece: with byte-level BPE a run of letters, of digits
    or of other signs with the space before it; with BERT's also every sign and every Chinese character; with
    Metaspace what is between spaces, punctuation included. For tokenizers that do not split text before the model
    (older Llama folders) the space markers of tokens decide instead.
    """

    def __init__(self, tokenizer: Tokenizer):
        probe = tokenizer.encode("one two", add_special_tokens=False)
        self.table: np.ndarray | None = None  # (vocabulary,) bool, only where the pre-tokenizer splits nothing
        if len(set(probe.word_ids)) < 2:
            self.table = np.zeros(max(tokenizer.get_vocab().values()) + 1, dtype=bool)
            for token, place in tokenizer.get_vocab().items():
                self.table[place] = token.startswith(SPACE_MARKERS)

    def starts(self, encodings: Sequence[Encoding], ids: np.ndarray) -> np.ndarray:
        """(tokens,) bool: which tokens start a word. ids: (tokens,) of all encodings, one after another."""
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        if self.table is not None:
            starts = self.table[ids]
        else:
            flat: list[int | None] = []
            for encoding in encodings:
                flat += encoding.word_ids
            try:
                words = np.array(flat, dtype=np.int32)
            except TypeError:  # None, for tokens outside every word
                words = np.array([-1 if word is None else word for word in flat], dtype=np.int32)
            starts = np.ones(len(words), dtype=bool)
            np.not_equal(words[1:], words[:-1], out=starts[1:])
        first = (np.cumsum(lengths) - lengths)[lengths > 0]
        starts[first] = True
        return starts


def word_starts(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """(tokens,) bool: which tokens of a text, without special ones, start a word. For many texts keep a WordFinder."""
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return WordFinder(tokenizer).starts([encoding], np.array(encoding.ids, dtype=np.int64))
