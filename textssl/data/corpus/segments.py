"""Segments of text -> tokens, words and sentences, by the offsets of the tokenizers library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np
from tokenizers import Encoding, Tokenizer

from textssl.data.language.at_once import Starts
from textssl.tokenizer.words import WordFinder

LOOK_AHEAD = 16  # characters that are searched for a token after a sentence's first one, if the normaliser dropped that


class Segments(NamedTuple):
    """Documents, or parts of long ones. documents: (segments,) int64, the number of each one's document. starts: where
    sentences begin."""

    documents: np.ndarray
    texts: Sequence[str]
    starts: Starts

    def runs(self, bounds: Sequence[int]) -> Iterator[Segments]:
        """The segments between every two neighbouring bounds, which begin with 0."""
        stops = np.cumsum([0, *self.starts.counts])
        for first, stop in pairwise(bounds):
            starts = Starts(self.starts.places[stops[first] : stops[stop]], self.starts.counts[first:stop])
            yield Segments(self.documents[first:stop], self.texts[first:stop], starts)


class Tokens(NamedTuple):
    """Segments one after another. ids (tokens,); words (tokens,) bool, whether a word starts there.

    sentences: (sentences,) int64, the index of the token in which each sentence begins. lengths: (segments,) int64.
    """

    ids: np.ndarray
    words: np.ndarray
    sentences: np.ndarray
    lengths: np.ndarray


class SegmentEncoder(Protocol):
    def encode(self, segments: Segments) -> Tokens: ...


class OffsetEncoder:
    """For any tokenizer: words and sentences by the offsets that the library gives with the ids."""

    def __init__(self, tokenizer: Tokenizer, dtype: np.dtype) -> None:
        self.tokenizer, self.dtype = tokenizer, dtype
        self.words = WordFinder(tokenizer)

    def encode(self, segments: Segments) -> Tokens:
        encodings = self.tokenizer.encode_batch(segments.texts, add_special_tokens=False)
        flat: list[int] = []
        sentences: list[int] = []
        for places, encoding in zip(segments.starts.lists(), encodings, strict=True):
            first = len(flat)
            for character in places:
                token = encoding.char_to_token(character)
                if token is None:
                    token = token_after(encoding, character)
                if token is not None:
                    sentences.append(first + token)
            flat += encoding.ids
        ids = np.array(flat, dtype=self.dtype)
        lengths = np.array([len(encoding) for encoding in encodings], dtype=np.int64)
        return Tokens(ids, self.words.starts(encodings, ids), np.array(sentences, dtype=np.int64), lengths)


def token_after(encoding: Encoding, character: int) -> int | None:
    """The nearest token after a character that the normaliser dropped."""
    for place in range(character + 1, character + LOOK_AHEAD):
        token = encoding.char_to_token(place)
        if token is not None:
            return token
    return None


def joined_tokens(parts: Sequence[Tokens]) -> Tokens:
    """The tokens of several runs of segments as one."""
    firsts = np.cumsum([0, *(len(part.ids) for part in parts)])
    sentences = [part.sentences + first for part, first in zip(parts, firsts, strict=False)]
    ids, words, _, lengths = zip(*parts, strict=True)
    return Tokens(np.concatenate(ids), np.concatenate(words), np.concatenate(sentences), np.concatenate(lengths))
