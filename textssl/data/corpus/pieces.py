"""A stream of documents, or of lines to be read, in pieces for workers; and which of the documents are new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Protocol, TypeVar

import numpy as np

from textssl.data.corpus.workers import Answer, Piece, Texts, Worked
from textssl.data.language.languages import main_language
from textssl.data.text.documents import Document, DropReport
from textssl.data.text.formats import Lines

PIECE_CHARACTERS = 2**18  # documents go to a worker in pieces of about this size
PIECE_DOCUMENTS = 4096
GUESS_DOCUMENTS = 200  # at the beginning of the stream, from which the main language is guessed
GUESS_CHARACTERS = 2**20  # ... and no more than this, where documents are long
DUPLICATE = "duplicate"

Stream = TypeVar("Stream", bound=Document | Lines)


def first_documents(documents: Iterator[Stream], characters: int) -> Iterator[Stream]:
    """The first documents, until they hold `characters` together."""
    while characters > 0 and (document := next(documents, None)) is not None:
        characters -= len(text_of(document))
        yield document


def text_of(document: Document | Lines) -> str:
    assert isinstance(document, Document), "the beginning of the stream is to be read already"
    return document.text


def with_main_language(documents: Iterable[Stream]) -> tuple[Iterable[Stream], str]:
    """The whole stream, and the language of most of its first documents."""
    stream = iter(documents)
    first = list(islice(first_documents(stream, GUESS_CHARACTERS), GUESS_DOCUMENTS))
    return chain(first, stream), main_language(map(text_of, first))


class Seen(Protocol):
    """Which digests are new."""

    def add(self, digests: Sequence[bytes]) -> list[bool]: ...


def pieces(documents: Iterable[Document | Lines], reading: DropReport) -> Iterator[tuple[Texts | Lines, DropReport]]:
    """Documents in pieces of about PIECE_CHARACTERS, lines as they come; each with what was dropped since the last.

    reading: gets what is dropped while the documents are read, and is emptied; what comes last stays there.
    """
    texts, sources, size = list[str](), list[str](), 0
    for document in documents:
        if isinstance(document, Document):
            texts.append(document.text)
            sources.append(document.source)
            size += len(document.text)
            if size < PIECE_CHARACTERS and len(texts) < PIECE_DOCUMENTS:
                continue
        if texts:
            yield Texts(texts, sources), reading.take()
            texts, sources, size = [], [], 0
        if isinstance(document, Lines):
            yield document, reading.take()
    if texts:
        yield Texts(texts, sources), reading.take()


def new_ones(
    answers: Iterable[tuple[DropReport, Answer]], seen: Seen, report: DropReport
) -> Iterator[tuple[Piece, Worked, np.ndarray]]:
    """Pieces with which of their documents are new, (documents,) bool; what is dropped is counted in its order."""
    for before, (piece, worked, dropped) in answers:
        report.merge(before)
        report.merge(dropped)
        fresh = seen.add(piece.digests)
        if not all(fresh):
            count_duplicates(piece.sources, fresh, report)
        yield piece, worked, np.array(fresh, dtype=bool)


def count_duplicates(sources: Sequence[str], fresh: Sequence[bool], report: DropReport) -> None:
    for source, is_new in zip(sources, fresh, strict=True):
        if not is_new:
            report.add(DUPLICATE, source)
