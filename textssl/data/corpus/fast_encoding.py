"""Segments of text -> tokens, words and sentences, by engines that give no offsets, with identical results."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer, normalizers

from textssl.data.corpus.segments import OffsetEncoder, SegmentEncoder, Segments, Tokens, joined_tokens
from textssl.data.language.sentences import ANYWHERE, CLOSING
from textssl.tokenizer.byte_words import ByteWords, byte_places
from textssl.tokenizer.engines import Engine, kind_of, load_engine

# characters at which BERT's rules split a text whatever follows
SURE_ENDS = frozenset(" \t\n\r\u00a0\u2003\u2009\u2028\u202f\u3000" + ANYWHERE + CLOSING.replace("\\", ""))

NOTHING = 0xFFFFFFFF  # no character's code


def fast_encoder(tokenizer: Tokenizer, slow: OffsetEncoder) -> SegmentEncoder:
    """The encoder for a tokenizer that has an engine; `slow` encodes what it is not sure of."""
    engine = load_engine(tokenizer, special_in_text=False)
    return (WordPieceEncoder if kind_of(tokenizer) == "wordpiece" else ByteEncoder)(tokenizer, engine, slow)


class WordPieceEncoder:
    """BERT's WordPiece, one row a sentence: a row begins a sentence, a token without "##" a word.

    A segment goes to the library if a sentence in it might have other ids by itself than within the text, or if its
    first character might have no token.
    """

    def __init__(self, tokenizer: Tokenizer, engine: Engine, slow: OffsetEncoder) -> None:
        self.engine, self.slow = engine, slow
        prefix = json.loads(tokenizer.to_str())["model"]["continuing_subword_prefix"]
        vocabulary = tokenizer.get_vocab()
        self.begins_word = np.ones(max(vocabulary.values()) + 1, dtype=bool)
        self.begins_word[[place for token, place in vocabulary.items() if token.startswith(prefix)]] = False
        self.sure = SurePlaces(tokenizer.normalizer)

    def encode(self, segments: Segments) -> Tokens:
        joined = Joined.of(segments)
        sure = np.ones(len(segments.texts), dtype=bool)
        sure[joined.owners[~self.sure.at(joined)]] = False
        if sure.all():
            return self.rows(joined)
        bounds = [0, *(np.flatnonzero(sure[1:] != sure[:-1]) + 1).tolist(), len(sure)]
        runs = zip(bounds, segments.runs(bounds), strict=False)
        return joined_tokens([self.rows(Joined.of(run)) if sure[at] else self.slow.encode(run) for at, run in runs])

    def rows(self, joined: Joined) -> Tokens:
        """The tokens of segments of which every sentence can be encoded by itself."""
        text, firsts, places, owners = joined
        counts = np.bincount(owners, minlength=len(firsts))
        opened = np.zeros(len(firsts), dtype=bool)  # by a sentence; else what is before the first one is a row
        opened[owners[places == firsts[owners]]] = True
        rows = counts + ~opened
        opens = np.cumsum(rows) - rows  # the first row of each segment
        leads = opens[~opened]
        begins = np.ones(rows.sum(), dtype=bool)
        begins[leads] = False
        starts = np.empty(len(begins), dtype=np.int64)
        starts[leads], starts[begins] = firsts[~opened], places
        bounds = [*starts.tolist(), len(text)]
        ids, lengths = self.engine.encode([text[start:stop] for start, stop in pairwise(bounds)])
        sentences = (np.cumsum(lengths) - lengths)[begins & (lengths > 0)]
        return Tokens(ids.astype(self.slow.dtype), self.begins_word[ids], sentences, np.add.reduceat(lengths, opens))


class Joined(NamedTuple):
    """Segments as one text. firsts: (segments,) where each begins. places: (sentences,) where sentences begin; owners:
    (sentences,) the segment of each."""

    text: str
    firsts: np.ndarray
    places: np.ndarray
    owners: np.ndarray

    @classmethod
    def of(cls, segments: Segments) -> Joined:
        _, texts, (places, counts) = segments
        sizes = np.array(list(map(len, texts)), dtype=np.int64)
        firsts = np.cumsum(sizes) - sizes
        owners = np.repeat(np.arange(len(texts)), counts)
        return cls("".join(texts), firsts, places + firsts[owners], owners)


class SurePlaces(dict[str, bool]):
    """Whether a sentence can be encoded by itself, by the characters before and after its beginning.

    The one before must be whitespace or a sign that is a word of its own (at the beginning of a text there is none);
    the first of the sentence must be one that is not dropped, and no accent that could attach elsewhere.
    """

    def __init__(self, normalizer: normalizers.Normalizer | None) -> None:
        self.normalizer = normalizer

    def at(self, joined: Joined) -> np.ndarray:
        """(sentences,) bool, for each of them."""
        text, firsts, places, owners = joined
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        before = np.where(places > firsts[owners], codes[places - 1], NOTHING)
        pairs, which = np.unique(before.astype(np.uint64) << 32 | codes[places], return_inverse=True)
        characters = [(int(pair >> 32), int(pair & 0xFFFFFFFF)) for pair in pairs.tolist()]
        sure = [self[("" if before == NOTHING else chr(before)) + chr(first)] for before, first in characters]
        return np.array(sure, dtype=bool)[which]

    def __missing__(self, characters: str) -> bool:
        first = characters[-1:]
        kept = unicodedata.category(first)[0] in "LNPS"
        if kept and self.normalizer is not None:
            kept = bool(self.normalizer.normalize_str(first).strip())
        self[characters] = kept and (len(characters) < 2 or characters[0] in SURE_ENDS)
        return self[characters]


class ByteEncoder:
    """Byte-level BPE: the number of bytes of each token says where it stands in the text.

    Where that does not work out (other bytes in all than the text has, a word that begins inside a token), the library
    encodes.
    """

    def __init__(self, tokenizer: Tokenizer, engine: Engine, slow: OffsetEncoder) -> None:
        self.engine, self.slow = engine, slow
        self.add_space = json.loads(tokenizer.to_str())["pre_tokenizer"]["add_prefix_space"]
        vocabulary = tokenizer.get_vocab()
        self.sizes = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)  # bytes of each token
        for token, place in vocabulary.items():
            self.sizes[place] = len(token)
        self.words = ByteWords()

    def encode(self, segments: Segments) -> Tokens:
        _, texts, (places, counts) = segments
        ids, lengths = self.engine.encode(texts)
        spaces = [self.add_space and bool(text) and text[0] != " " for text in texts]
        text = "".join([f" {text}" if space else text for space, text in zip(spaces, texts, strict=True)])
        data = np.frombuffer(text.encode("utf-8"), np.uint8)
        sizes = np.array(list(map(len, texts)), dtype=np.int64) + spaces
        firsts = np.cumsum(sizes) - sizes
        beginnings = np.repeat(firsts + spaces, counts) + places
        firsts = firsts[sizes > 0]
        if not text.isascii():
            firsts, beginnings = byte_places(data, firsts), byte_places(data, beginnings)
        first = np.zeros(len(data), dtype=bool)
        first[firsts] = True
        begins = self.words.starts(data, first)
        token_ends = np.cumsum(self.sizes[ids])
        if len(ids) == 0 or token_ends[-1] != len(data):
            return self.slow.encode(segments)
        token_starts = token_ends - self.sizes[ids]
        words = begins[token_starts]
        if np.count_nonzero(words) != np.count_nonzero(begins):
            return self.slow.encode(segments)
        sentences = np.searchsorted(token_ends, beginnings, side="right")
        return Tokens(ids.astype(self.slow.dtype), words, sentences, lengths)
