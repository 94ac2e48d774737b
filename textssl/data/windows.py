"""The samples of a window of blocks: where each one lies in the shards, and reading it.

A window is made when one of its samples is first asked for; it knows places, never text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textssl.data.corpus import Blocks, Corpus
from textssl.data.packing import Packing
from textssl.sample_types import SENTENCE_START, Adjacent, Document, Row, RowFormat


@dataclass(frozen=True)
class Documents:
    """Where documents lie: shard, first token within the shard, and tokens of each; all (documents,) int64."""

    shard: np.ndarray
    first: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)

    def take(self, order: np.ndarray) -> Documents:
        return Documents(self.shard[order], self.first[order], self.lengths[order])

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
    corpus: Corpus
    documents: Documents

    def sample(self, index: int) -> Document:
        shard = self.corpus.shard(int(self.documents.shard[index]))
        first = int(self.documents.first[index])
        part = slice(first, first + int(self.documents.lengths[index]))
        return Document(shard.tokens[part].astype(np.int64), np.array(shard.marks[part]))


def sentences_of(corpus: Corpus, documents: Documents) -> Documents:
    """The sentences of documents, each in the place of a document."""
    shards, firsts, lengths = [], [], []
    for shard, first, length in zip(documents.shard, documents.first, documents.lengths, strict=True):
        marks = corpus.shard(int(shard)).marks[first : first + length]
        starts = np.flatnonzero(marks & SENTENCE_START)
        firsts.append(first + starts)
        lengths.append(np.diff(starts, append=length))
        shards.append(np.full(len(starts), shard))
    return Documents(*(np.concatenate(arrays) for arrays in (shards, firsts, lengths)))


@dataclass(frozen=True)
class AdjacentWindow:
    """Neighbouring sentences of documents, two and two: one of `left` and the one that follows it."""

    corpus: Corpus
    left: Documents
    right: Documents

    def __len__(self) -> int:
        return len(self.left)

    def take(self, order: np.ndarray) -> AdjacentWindow:
        return AdjacentWindow(self.corpus, self.left.take(order), self.right.take(order))

    @classmethod
    def of_documents(cls, corpus: Corpus, documents: Documents) -> AdjacentWindow:
        sentences = sentences_of(corpus, documents)
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
