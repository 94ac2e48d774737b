"""Which texts occur in a prepared corpus: whole, or with a passage of PASSAGE_TOKENS tokens.

Token ids under the corpus's own tokenizer are compared, so a copy is found if its letters, spaces and line breaks are
those of the corpus. A tokenizer may encode the first word of a text differently from the same word after a line break,
and the last one differently before what follows: both words are left out of the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.encoding import DocumentEncoder
from textssl.data.corpus.engine_choice import choose_engine
from textssl.data.corpus.shards import Shard
from textssl.data.keyed_random import philox
from textssl.data.text.documents import Document
from textssl.errors import UserError
from textssl.sample_types import WORD_START, cut_long_words

PASSAGE_TOKENS = 32
PASSAGE_DIFFERENT = 8  # different known tokens that a passage must have: a line of dashes is no copy
ANCHOR_TOKENS = 8  # by which whole texts are looked up; shorter ones are compared with whole documents
ANCHOR_DIFFERENT = 5
ANCHOR_CHOICES = 64  # places in a text from which the anchor is chosen: the one that the fewest texts share
BLOCK_TOKENS = 2**20  # of the corpus in memory at once
BLOCK_DOCUMENTS = 2**18
AT_ONCE = 2**22  # numbers in memory at once, beside a block
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # of the rolling hash (Karp and Rabin 1987), modulo 2^64; odd
INVERSE = np.uint64(pow(int(MULTIPLIER), -1, 2**64))
FILTER_BITS = (12, 26)  # least and most bits of a hash that index the filter table: 64 MB at most
SPARSE = 16  # entries of the table for each hash


@dataclass(frozen=True)
class Overlap:
    """How many of `texts` texts occur in the corpora whole, and how many others share a passage with them."""

    texts: int
    whole: int
    passage: int

    @property
    def found(self) -> int:
        return self.whole + self.passage

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Bounded(NamedTuple):
    """A text's ids (tokens,) int64, and the bounds of those between its first and its last word."""

    ids: np.ndarray
    start: int
    stop: int

    @property
    def inner(self) -> np.ndarray:
        return self.ids[self.start : self.stop]


def overlaps(
    groups: dict[str, Sequence[str]],
    corpora: Sequence[tuple[Corpus, Tokenizer]],
    on_progress: Callable[[int], None] = lambda tokens: None,
) -> dict[str, Overlap]:
    """{name: Overlap} of groups of texts with all the corpora together; each corpus is read once, block by block.

    A text occurs in a corpus whole if a document is that text, token for token, or, where there are ANCHOR_TOKENS
    tokens between its first and last word and ANCHOR_DIFFERENT different ones, if these occur in a row. It shares a
    passage if PASSAGE_TOKENS of its tokens in a row do, PASSAGE_DIFFERENT of them different. on_progress: called with
    the number of tokens of each block read. Raises UserError where a corpus is damaged.
    """
    texts = list(dict.fromkeys(text.strip() for group in groups.values() for text in group))
    whole, passage = np.zeros(len(texts), bool), np.zeros(len(texts), bool)
    for corpus, tokenizer in corpora:
        search = Search(bounded_texts(texts, tokenizer), unknown_token(tokenizer), corpus.manifest["vocab_size"])
        search.read(corpus, on_progress)
        whole |= search.whole
        passage |= search.passage
    place = {text: number for number, text in enumerate(texts)}
    found = {}
    for name, group in groups.items():
        places = [place[text.strip()] for text in group]
        found[name] = Overlap(len(places), int(whole[places].sum()), int((passage & ~whole)[places].sum()))
    return found


def bounded_texts(texts: Sequence[str], tokenizer: Tokenizer) -> list[Bounded]:
    _, engine = choose_engine([Document(text, "") for text in texts], tokenizer)
    encoded = DocumentEncoder(tokenizer, fast=engine.fast).encode(texts)
    found, end = [], 0
    for length in encoded.lengths.tolist():
        start, end = end, end + length
        words = np.flatnonzero(cut_long_words(encoded.marks[start:end] & WORD_START > 0))
        bounds = (int(words[1]), int(words[-1])) if len(words) > 1 else (0, 0)
        found.append(Bounded(encoded.ids[start:end].astype(np.int64), *bounds))
    return found


def unknown_token(tokenizer: Tokenizer) -> int:
    """The id that stands for all unknown characters, and so matches texts that differ; -1 where there is none."""
    name = getattr(tokenizer.model, "unk_token", None) or "[UNK]"
    number = tokenizer.token_to_id(name)
    return -1 if number is None else number


class Search:
    """The texts looked for, and which of them have been found: `whole` and `passage`, (texts,) bool."""

    def __init__(self, texts: list[Bounded], unknown: int, vocab_size: int) -> None:
        self.texts, self.unknown = texts, unknown
        self.whole, self.passage = np.zeros(len(texts), bool), np.zeros(len(texts), bool)
        largest = max((int(text.ids.max(initial=0)) for text in texts), default=0)
        stream = philox(0, 0, PASSAGE_TOKENS)
        self.values = stream.random_raw(max(vocab_size, largest + 1))  # a random number for each token
        powers = np.full(BLOCK_TOKENS + PASSAGE_TOKENS + 1, MULTIPLIER)
        inverse = np.full(len(powers), INVERSE)
        powers[0] = inverse[0] = 1
        self.powers, self.inverse = np.cumprod(powers), np.cumprod(inverse)
        self.anchors, self.documents, self.passages = Wanted(), Wanted(), Wanted()
        self.offsets = np.zeros(len(texts), np.int64)  # of the anchors in the inner tokens
        openings: dict[int, np.ndarray] = {}
        for number, text in enumerate(texts):
            inner = text.inner
            if len(inner) >= ANCHOR_TOKENS and len({*inner.tolist()} - {unknown}) >= ANCHOR_DIFFERENT:
                openings[number] = self.hashes(inner[: ANCHOR_TOKENS + ANCHOR_CHOICES - 1], ANCHOR_TOKENS)
            elif len(text.ids):
                self.documents.add(self.hashes(text.ids, len(text.ids)), number)
            if len(inner) >= PASSAGE_TOKENS:
                self.passages.add(self.hashes(inner, PASSAGE_TOKENS)[self.varied(inner)], number)
        self.choose_anchors(openings)
        for wanted in (self.anchors, self.documents, self.passages):
            wanted.close()
        self.lengths = sorted({len(texts[number].ids) for number in self.documents.owners.tolist()})

    def choose_anchors(self, openings: dict[int, np.ndarray]) -> None:
        """For each text the anchor that the fewest share, as all texts may begin alike. openings: hashes by text."""
        if not openings:
            return
        _, kinds, counts = np.unique(np.concatenate(list(openings.values())), return_inverse=True, return_counts=True)
        shared = np.split(counts[kinds], np.cumsum([len(hashes) for hashes in openings.values()])[:-1])
        for (number, hashes), times in zip(openings.items(), shared, strict=True):
            offset = self.offsets[number] = int(times.argmin())
            self.anchors.add(hashes[offset : offset + 1], number)

    def varied(self, ids: np.ndarray) -> np.ndarray:
        """(windows,) bool: whether each window of PASSAGE_TOKENS tokens has enough different known ones."""
        windows = np.lib.stride_tricks.sliding_window_view(ids, PASSAGE_TOKENS)
        parts = np.array_split(windows, 1 + windows.size // AT_ONCE)
        return np.concatenate([different(part, self.unknown) >= PASSAGE_DIFFERENT for part in parts])

    def hashes(self, ids: np.ndarray, length: int) -> np.ndarray:
        """(windows,) uint64 hash of each run of `length` tokens."""
        if len(ids) <= len(self.powers) - 1:
            return windows_of(self.prefix(ids), length, self.inverse)
        step = len(self.powers) - length  # a text longer than a block
        parts = [self.hashes(ids[start : start + step + length - 1], length) for start in range(0, len(ids), step)]
        return np.concatenate([part for part in parts if len(part)])

    def prefix(self, ids: np.ndarray) -> np.ndarray:
        """(tokens + 1,) uint64 sums of value * MULTIPLIER^place."""
        sums = np.zeros(len(ids) + 1, np.uint64)
        np.cumsum(self.values[ids] * self.powers[: len(ids)], out=sums[1:])
        return sums

    def read(self, corpus: Corpus, on_progress: Callable[[int], None]) -> None:
        """Search a whole corpus, block by block. Raises UserError for a token beyond its vocabulary."""
        for index in range(len(corpus.manifest["shards"])):
            shard = corpus.shard(index)
            self.read_documents(shard)
            for start in range(0, len(shard.tokens), BLOCK_TOKENS):
                block = np.asarray(shard.tokens[start : start + BLOCK_TOKENS + PASSAGE_TOKENS - 1])
                if int(block.max(initial=0)) >= len(self.values):
                    raise UserError(f"{corpus.path} holds tokens beyond its vocabulary: prepare the corpus again")
                self.read_block(shard, start, block)
                on_progress(min(BLOCK_TOKENS, len(shard.tokens) - start))

    def read_block(self, shard: Shard, start: int, block: np.ndarray) -> None:
        sums = self.prefix(block)
        if len(self.passages) and len(block) >= PASSAGE_TOKENS:
            self.passage[self.passages.owners_of(windows_of(sums, PASSAGE_TOKENS, self.inverse))] = True
        if len(self.anchors) and len(block) >= ANCHOR_TOKENS:
            for places, owners in self.anchors.find(windows_of(sums, ANCHOR_TOKENS, self.inverse)):
                left = ~self.whole[owners]
                self.compare(shard, start + places[left] - self.offsets[owners[left]], owners[left])

    def compare(self, shard: Shard, places: np.ndarray, owners: np.ndarray) -> None:
        """Mark the texts whose inner tokens occur at one of their candidate places; places, owners: (candidates,)."""
        if not len(owners):
            return
        order = np.argsort(owners, kind="stable")
        places, owners = places[order], owners[order]
        numbers, firsts = np.unique(owners, return_index=True)
        for number, candidates in zip(numbers.tolist(), np.split(places, firsts[1:]), strict=True):
            inner = self.texts[number].inner
            candidates = candidates[(candidates >= 0) & (candidates + len(inner) <= len(shard.tokens))]
            rows = max(1, AT_ONCE // len(inner))
            for first in range(0, len(candidates), rows):
                windows = candidates[first : first + rows, None] + np.arange(len(inner))
                if (np.asarray(shard.tokens)[windows] == inner).all(1).any():
                    self.whole[number] = True
                    break

    def read_documents(self, shard: Shard) -> None:
        """Mark the short texts that are a document of the shard."""
        if not self.lengths:
            return
        for first in range(0, len(shard.documents), BLOCK_DOCUMENTS):
            bounds = shard.bounds(first, min(first + BLOCK_DOCUMENTS, len(shard.documents)))
            sizes = np.diff(bounds)
            for length in self.lengths:
                starts = bounds[:-1][sizes == length]
                for rows in np.array_split(starts, 1 + len(starts) * length // AT_ONCE):
                    ids = np.asarray(shard.tokens)[rows[:, None] + np.arange(length)]
                    sums = (self.values[ids] * self.powers[:length]).sum(1, dtype=np.uint64)
                    self.whole[self.documents.owners_of(sums)] = True


def different(windows: np.ndarray, unknown: int) -> np.ndarray:
    """(windows,) how many different known tokens each row has."""
    rows = np.sort(windows, axis=1)
    first = np.ones(rows.shape, bool)
    first[:, 1:] = rows[:, 1:] != rows[:, :-1]
    return (first & (rows != unknown)).sum(1)


def windows_of(sums: np.ndarray, length: int, inverse: np.ndarray) -> np.ndarray:
    """(windows,) hash of each run of `length` tokens, the same at any place. sums: (tokens + 1,), as by `prefix`."""
    if len(sums) <= length:
        return np.zeros(0, np.uint64)
    return (sums[length:] - sums[:-length]) * inverse[: len(sums) - length]


class Wanted:
    """The hashes looked for and the texts that they belong to; `close` makes it ready for look-ups."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.numbers: list[int] = []

    def __len__(self) -> int:
        return len(self.hashes)

    def add(self, hashes: np.ndarray, owner: int) -> None:
        self.parts.append(hashes)
        self.numbers.append(owner)

    def close(self) -> None:
        hashes = np.concatenate(self.parts) if self.parts else np.zeros(0, np.uint64)
        owners = np.repeat(np.array(self.numbers, np.int64), [len(part) for part in self.parts])
        order = np.argsort(hashes, kind="stable")
        self.hashes, self.owners = hashes[order], owners[order]
        bits = int(np.clip((SPARSE * len(hashes)).bit_length(), *FILTER_BITS))
        self.shift, self.table = np.uint64(64 - bits), np.zeros(2**bits, bool)
        self.table[self.hashes >> self.shift] = True
        self.parts, self.numbers = [], []

    def runs(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the `hashes` that are wanted, and for each the bounds of its texts in `owners`."""
        places = np.flatnonzero(self.table[hashes >> self.shift])  # filters out most of a corpus
        low = np.searchsorted(self.hashes, hashes[places], "left")
        high = np.searchsorted(self.hashes, hashes[places], "right")
        kept = high > low
        return places[kept], low[kept], high[kept]

    def owners_of(self, hashes: np.ndarray) -> np.ndarray:
        """The texts that want any of `hashes`."""
        _, low, high = self.runs(hashes)
        low, firsts = np.unique(low, return_index=True)  # each hash once, however often it occurs
        high = high[firsts]
        wanted = np.zeros(len(self.owners) + 1, np.int64)
        wanted[low] += 1
        np.subtract.at(wanted, high, 1)
        return np.unique(self.owners[np.cumsum(wanted[:-1]) > 0])

    def find(self, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Indices of wanted `hashes`, repeated for each text that wants them, and these texts; about AT_ONCE a part."""
        places, low, high = self.runs(hashes)
        if not len(places):
            return
        counts = high - low
        parts = np.unique(np.cumsum(counts) // AT_ONCE, return_index=True)[1]
        for first, end in zip(parts, [*parts[1:], len(places)], strict=True):
            times = counts[first:end]
            within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
            yield np.repeat(places[first:end], times), self.owners[np.repeat(low[first:end], times) + within]
