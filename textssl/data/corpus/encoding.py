"""Texts -> token ids and marks, on one core. Runs in the workers of `prepare`; imports no torch."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from tokenizers import Tokenizer

from textssl.data.corpus.fast_encoding import fast_encoder
from textssl.data.corpus.segments import OffsetEncoder, SegmentEncoder, Segments
from textssl.data.language.at_once import Starts, languages_of, sentence_starts_of
from textssl.data.language.languages import AUTO, UNKNOWN
from textssl.sample_types import SENTENCE_START, WORD_START
from textssl.tokenizer.words import SPACE_MARKERS

SEGMENT_CHARACTERS = 2**16  # a longer text is encoded in segments that are at least this long
LONGEST_SEGMENT = 2**20  # ... and never longer, even where there is no good place to cut
BATCH_CHARACTERS = 2**18  # what the library encodes at once: it needs some 100 bytes a character
SAFE_SPACE = re.compile(r"(?<=\w) (?=\w)")  # one plain space between letters or digits
PROBES = ("the cat", "Tom 12", "x yz", "7 b")
START = WORD_START | SENTENCE_START


UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]


class Encoded(NamedTuple):
    """Documents one after another. ids (tokens,), marks (tokens,) uint8, lengths (documents,) int64.

    languages: (documents,) codes of the languages by whose rules the sentences were split.
    """

    ids: np.ndarray
    marks: np.ndarray
    lengths: np.ndarray
    languages: list[str]


class DocumentEncoder:
    """Encodes documents of any length with a tokenizer, without special tokens.

    Text that looks like a special token ("[SEP]") is encoded as text. A document of more than SEGMENT_CHARACTERS is
    encoded in segments, cut at the next single space between two letters or digits: there the ids equal those of the
    uncut text for every tokenizer whose pre-tokenizer cuts at spaces (all that textssl trains). Only where a million
    characters hold no such space is a text cut elsewhere, which may change the few tokens at the cut.

    language: by whose rules sentences are split; `auto` guesses it for every document. main_language: taken for a
    document that is too short for a guess. fast: whether the engine for this kind of tokenizer encodes
    (textssl.tokenizer.engines), with the same ids and marks.
    """

    def __init__(
        self, tokenizer: Tokenizer, language: str = AUTO, main_language: str = UNKNOWN, *, fast: bool = False
    ) -> None:
        self.language, self.main_language = language, main_language
        state = json.loads(tokenizer.to_str())
        self.form: UnicodeForm | None = unicode_form(state)
        self.normalizer = tokenizer.normalizer
        # these would only cost time: special tokens are not added, and most text is in its normal form already
        state |= {"post_processor": None} | ({"normalizer": None} if self.form else {})
        self.tokenizer = Tokenizer.from_str(json.dumps(state))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True
        size = max(self.tokenizer.get_vocab().values()) + 1
        self.dtype = np.dtype(np.uint16 if size <= 2**16 else np.uint32)
        slow = OffsetEncoder(self.tokenizer, self.dtype)
        self.encoder: SegmentEncoder = fast_encoder(self.tokenizer, slow) if fast else slow
        self.special = special_ids(self.tokenizer, size)
        self.blank = np.zeros(size, dtype=bool)  # tokens that are nothing but the space before a word
        self.blank[[i for token, i in self.tokenizer.get_vocab().items() if token in SPACE_MARKERS]] = True
        self.drops_space = drops_space(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Ids, marks and lengths of the documents; a document may have no tokens (control characters in WordPiece)."""
        guessed = self.language == AUTO
        languages = languages_of(texts, self.main_language) if guessed else [self.language] * len(texts)
        texts = [self.in_form(text) for text in texts] if self.form else texts
        documents = Segments(np.arange(len(texts)), texts, sentence_starts_of(texts, languages))
        parts = [self.encode_segments(batch) for batch in batches(documents, self.drops_space)]
        lengths = np.zeros(len(texts), dtype=np.int64)
        for _, _, owners in parts:
            lengths += np.bincount(owners, minlength=len(texts))
        ids = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, self.dtype)
        marks = np.concatenate([part[1] for part in parts]) if parts else np.zeros(0, np.uint8)
        first = (np.cumsum(lengths) - lengths)[lengths > 0]
        marks[first] |= START
        return Encoded(ids, marks, lengths, languages)

    def in_form(self, text: str) -> str:
        """The text in the tokenizer's normal form, normalised in pieces, as a normaliser needs much memory."""
        form = self.form
        if form is None or unicodedata.is_normalized(form, text):
            return text
        pieces = (text[start:stop] for start, stop in cut(text, drop_space=False))
        normal = self.normalizer.normalize_str
        return "".join(piece if unicodedata.is_normalized(form, piece) else normal(piece) for piece in pieces)

    def encode_segments(self, batch: Segments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ids, marks and the document of every token; (tokens,) each."""
        ids, words, places, lengths = self.encoder.encode(batch)
        marks = words.view(np.uint8)  # WORD_START is bit 0
        places -= (marks[places] == 0) & self.blank[ids[places - 1]]  # the space of a word can be a token of its own
        marks[places] = START  # a sentence also begins a word, even where no space is written
        owners = np.repeat(batch.documents, lengths)
        kept = ~self.special[ids]
        return (ids, marks, owners) if kept.all() else (ids[kept], marks[kept], owners[kept])


def batches(documents: Segments, drop_space: bool) -> Iterator[Segments]:
    """Documents in batches, each closed by the one with which it has BATCH_CHARACTERS; those of more than
    SEGMENT_CHARACTERS are cut, each segment a batch. drop_space: as in `cut`."""
    sizes = np.array(list(map(len, documents.texts)), dtype=np.int64)
    before, bounds = np.cumsum(sizes) - sizes, [0]
    while bounds[-1] < len(sizes):
        first = bounds[-1]
        closing = int(np.searchsorted(before, before[first] + BATCH_CHARACTERS))
        long = np.flatnonzero(sizes[first:closing] > SEGMENT_CHARACTERS)
        bounds.append(first + max(1, int(long[0])) if len(long) else closing)
    for batch in documents.runs(bounds):
        yield from [batch] if len(batch.texts[0]) <= SEGMENT_CHARACTERS else segments(batch, drop_space)


def segments(document: Segments, drop_space: bool) -> Iterator[Segments]:
    """The segments of a single long document."""
    (text,), places = document.texts, document.starts.places
    for start, stop in cut(text, drop_space):
        low, high = np.searchsorted(places, [start, stop])
        yield Segments(document.documents, [text[start:stop]], Starts(places[low:high] - start, np.array([high - low])))


def cut(text: str, drop_space: bool) -> Iterator[tuple[int, int]]:
    """Bounds of the segments of a long text; the space at a cut is dropped, or opens the next segment."""
    start = 0
    while len(text) - start > SEGMENT_CHARACTERS:
        space = SAFE_SPACE.search(text, start + SEGMENT_CHARACTERS, start + LONGEST_SEGMENT)
        if space is not None:
            yield start, space.start()
            start = space.end() if drop_space else space.start()
        elif len(text) - start > LONGEST_SEGMENT:
            stop = start + LONGEST_SEGMENT
            while stop > start + SEGMENT_CHARACTERS and joined(text[stop - 1], text[stop]):
                stop -= 1
            yield start, stop
            start = stop
        else:
            break
    yield start, len(text)


def joined(left: str, right: str) -> bool:
    """Whether a cut between two characters would split an ASCII word, an accented letter or an emoji sequence."""
    return (left.isalnum() and right.isalnum() and left.isascii()) or unicodedata.category(right)[0] in "MC"


def unicode_form(state: dict[str, Any]) -> UnicodeForm | None:
    """The Unicode normal form, if that is all of a tokenizer's normalisation: text already in it needs no normaliser.

    Normal forms of assigned characters never change between versions of Unicode, so Python's answer holds for the
    library's tables too.
    """
    normalizer: dict[str, Any] = state["normalizer"] or {"type": None}
    steps: list[dict[str, Any]] = normalizer.get("normalizers", [normalizer])
    alone = len(steps) == 1 and all(token["special"] for token in state["added_tokens"])
    return steps[0]["type"] if alone and steps[0]["type"] in get_args(UnicodeForm) else None


def special_ids(tokenizer: Tokenizer, size: int) -> np.ndarray:
    """(size,) bool: which ids are special tokens, apart from the one for unknown characters."""
    model = json.loads(tokenizer.to_str())["model"]
    unknown = {model.get("unk_token"), model.get("unk_id")} - {None}
    special = np.zeros(size, dtype=bool)
    for place, token in tokenizer.get_added_tokens_decoder().items():
        special[place] = token.special and not unknown & {place, token.content}
    return special


def drops_space(tokenizer: Tokenizer) -> bool:
    """Whether a text is encoded as if a space came before it, so that the space at a cut has to be left out."""

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    pairs = [probe.split(" ") for probe in PROBES]
    return all(ids(f"{left} {right}") == ids(left) + ids(right) for left, right in pairs)
