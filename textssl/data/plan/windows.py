"""The samples of a window of blocks: where each one lies in the shards, and reading it.

A window is made when one of its samples is first asked for; it holds places, never text. Of a document longer than
LONGEST_DOCUMENT_TOKENS (or four times the length of a text, if that is more) a sample holds an excerpt of that length,
drawn anew every epoch, and of a sentence at most twice the length of a text: so the size of a sample is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from textssl.data.corpus.corpus import Blocks, Corpus
from textssl.data.plan.packing import Packing
from textssl.sample_types import SENTENCE_START, Adjacent, Document, Row, RowFormat, content_key

LONGEST_DOCUMENT_TOKENS = 2**16  # that a sample holds of one document: 0.6 MB
MARKS_AT_ONCE = 2**22  # marks of a document read at once to find its sentences


@dataclass(frozen=True)
class Documents:
    """Where documents are: shard, first token within the shard, and length in tokens; (documents,) int64 each."""

    shard: np.ndarray
    first: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)

    def take(self, order: np.ndarray) -> Documents:
        return Documents(self.shard[order], self.first[order], self.lengths[order])

    def opening(self, longest: int) -> Documents:
        """The first `longest` tokens of each."""
        return replace(self, lengths=np.minimum(self.lengths, longest))

    def excerpts(self, longest: int, stream: np.random.Philox) -> Documents:
        """At most `longest` tokens of each; where there are more, from a place that is drawn."""
        room = np.maximum(self.lengths - longest, 0)
        if not room.any():
            return self
        offsets = stream.random_raw(len(self)) % (room + 1).astype(np.uint64)
        return replace(self.opening(longest), first=self.first + offsets.astype(np.int64))

    @classmethod
    def of_blocks(cls, corpus: Corpus, blocks: Blocks, chosen: np.ndarray) -> Documents:
        parts = []
        for block in np.sort(chosen).tolist():
            shard, first = int(blocks.shard[block]), int(blocks.first_document[block])
            bounds = corpus.shard(shard).bounds(first, first + int(blocks.documents[block]))
            parts.append((np.full(len(bounds) - 1, shard), bounds[:-1], np.diff(bounds)))
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


@dataclass(frozen=True)
class DocumentWindow:
    """documents: what the samples hold. whole: the documents that these are excerpts of, where they may be longer."""

    corpus: Corpus
    documents: Documents
    whole: Documents | None = None

    def sample(self, index: int) -> Document:
        ids, marks = self.read(self.documents, index)
        if self.whole is None or self.whole.lengths[index] == len(ids):
            return Document(ids, marks)
        opening, _ = self.read(self.whole.opening(len(ids)), index)
        return Document(ids, marks, source=content_key(opening))

    def where(self, indices: np.ndarray) -> np.ndarray:
        """(4, samples) int64: shard, first token and length of each, and the first token of the document it is of."""
        documents, whole = self.documents, self.whole or self.documents
        columns = documents.shard, documents.first, documents.lengths, whole.first
        return np.stack([values[indices] for values in columns])

    def read(self, documents: Documents, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids and marks of one of the documents, copied out of the mapped file."""
        shard, first = self.corpus.shard(int(documents.shard[index])), int(documents.first[index])
        part = slice(first, first + int(documents.lengths[index]))
        return shard.tokens[part].astype(np.int64), np.array(shard.marks[part])


def sentences_of(corpus: Corpus, documents: Documents) -> Documents:
    """The sentences of documents, as if each were a document."""
    shards, firsts, lengths = [], [], []
    for shard, first, length in zip(documents.shard, documents.first, documents.lengths, strict=True):
        starts = sentence_starts(corpus.shard(int(shard)).marks, int(first), int(length))
        firsts.append(first + starts)
        lengths.append(np.diff(starts, append=length))
        shards.append(np.full(len(starts), shard))
    return Documents(*(np.concatenate(arrays) for arrays in (shards, firsts, lengths)))


def sentence_starts(marks: np.ndarray, first: int, length: int) -> np.ndarray:
    """Tokens at which the sentences of a document begin, from its first token on; marks are read piece by piece."""
    parts = [
        np.flatnonzero(marks[start : min(start + MARKS_AT_ONCE, first + length)] & SENTENCE_START) + (start - first)
        for start in range(first, first + length, MARKS_AT_ONCE)
    ]
    return np.concatenate(parts)


@dataclass(frozen=True)
class AdjacentWindow:
    """Every pair of neighbouring sentences of the documents: one in `left`, the one that follows it in `right`."""

    corpus: Corpus
    left: Documents
    right: Documents

    def __len__(self) -> int:
        return len(self.left)

    def take(self, order: np.ndarray) -> AdjacentWindow:
        return AdjacentWindow(self.corpus, self.left.take(order), self.right.take(order))

    @classmethod
    def of_documents(cls, corpus: Corpus, documents: Documents, longest: int) -> AdjacentWindow:
        """The pairs of these documents. longest: tokens that are read of a sentence."""
        sentences = sentences_of(corpus, documents).opening(longest)
        opens = np.isin(sentences.shard * 2**40 + sentences.first, documents.shard * 2**40 + documents.first)
        follows = np.flatnonzero(~opens)  # every sentence but the first of its document
        return cls(corpus, sentences.take(follows - 1), sentences.take(follows))

    def sample(self, index: int) -> Adjacent:
        return Adjacent(*(DocumentWindow(self.corpus, side).sample(index) for side in (self.left, self.right)))


@dataclass(frozen=True)
class RowWindow:
    corpus: Corpus
    documents: Documents
    packing: Packing
    order: np.ndarray
    length: int
    form: RowFormat

    def sample(self, index: int) -> Row:
        row = empty_row(self.length, self.form)
        at = 0
        for number, piece in enumerate(self.packing.row(int(self.order[index])), start=1):
            at = self._write(row, at, number, *piece)
        return row

    def _write(self, row: Row, at: int, number: int, document: int, begin: int, end: int) -> int:
        """Write one piece into a row from place `at`; returns the place after it."""
        form, first = self.form, int(self.documents.first[document])
        words_end = max(begin, min(end, int(self.documents.lengths[document])))  # form.end may follow the last word
        shard = self.corpus.shard(int(self.documents.shard[document]))
        start = at + len(form.prefix)
        stop = start + words_end - begin
        after = start + end - begin
        row.ids[at:start] = form.prefix
        row.ids[start:stop] = shard.tokens[first + begin : first + words_end]
        row.marks[start:stop] = shard.marks[first + begin : first + words_end]
        row.ids[stop:after] = form.end[len(form.end) - (after - stop) :]
        row.ids[after : after + len(form.suffix)] = form.suffix
        row.special[start:stop] = False
        last = after + len(form.suffix)
        row.documents[at:last] = number
        row.positions[at:last] = np.arange(last - at)
        return last


Window = DocumentWindow | AdjacentWindow | RowWindow


def empty_row(length: int, form: RowFormat) -> Row:
    """A row of padding."""
    return Row(
        ids=np.full(length, form.pad, np.int64),
        documents=np.zeros(length, np.int32),
        positions=np.zeros(length, np.int64),
        marks=np.zeros(length, np.uint8),
        special=np.ones(length, bool),
    )
