"""A stream of documents -> a prepared corpus: hashed, deduplicated, encoded in parallel, split, written in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from textssl.data.corpus.corpus import HELD_OUT
from textssl.data.corpus.dedup import SeenDigests, digest, unit_interval
from textssl.data.corpus.workers import EncoderPool
from textssl.data.corpus.writer import CorpusWriter
from textssl.data.text.documents import Document, DropReport
from textssl.data.text.drops import NO_TOKENS
from textssl.data.text.languages import AUTO, main_language

PIECE_CHARACTERS = 2**18  # documents go to a worker in pieces of about this size
PIECE_DOCUMENTS = 4096
OPENING_DOCUMENTS = 4000  # a corpus with more than these needs no minimum of held-out documents
OPENING_TOKENS = 2**23
MIN_HELD_OUT = 16  # documents held out of a small corpus, at most one in MIN_HELD_OUT_SHARE
MIN_HELD_OUT_SHARE = 5
GUESS_DOCUMENTS = 200  # at the beginning of the stream, that say in which language most are
GUESS_CHARACTERS = 2**20  # ... and no more, where documents are long
DUPLICATE = "duplicate"


@dataclass
class Counts:
    """What one split holds."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0

    def add(self, other: Counts) -> None:
        self.documents += other.documents
        self.tokens += other.tokens
        self.bytes += other.bytes


@dataclass
class Prepared:
    """What `write_corpus` made. held_out_raised: whether a small corpus got more held-out documents than the share.

    languages: code -> documents of both splits whose sentences were cut by the rules of that language.
    """

    train: Counts = field(default_factory=Counts)
    held_out: Counts = field(default_factory=Counts)
    held_out_raised: bool = False
    languages: Counter[str] = field(default_factory=Counter)


class Piece(NamedTuple):
    """Documents that one worker encodes together."""

    texts: list[str]
    sources: list[str]
    digests: list[bytes]
    sizes: list[int]  # UTF-8 bytes


class Ready(NamedTuple):
    """An encoded document, its place by hash in [0, 1)."""

    place: float
    ids: np.ndarray
    marks: np.ndarray
    num_bytes: int
    language: str


def write_corpus(
    documents: Iterable[Document],
    out: Path,
    tokenizer: Tokenizer,
    *,
    tokenizer_hash: str,
    report: DropReport,
    workers: int,
    held_out: float = 0.01,
    language: str = AUTO,
    fast: bool = False,
    block_tokens: int = 2**20,
    shard_tokens: int = 2**27,
    provenance: dict[str, Any] | None = None,
    on_progress: Callable[[Counts], None] = lambda counts: None,
) -> Prepared:
    """Fill the folder `out` (a side folder, to be renamed by the caller) from a stream, in bounded memory.

    The bytes written depend on the documents and options alone, not on `workers` or `fast`. Exact duplicates and documents
    without tokens are dropped and counted in `report`. A document is held out where its hash falls below the share
    `held_out`; a corpus of under OPENING_DOCUMENTS gets at least MIN_HELD_OUT (those of the smallest hashes), but not
    more than a fifth of its documents. The held-out split is left out where it is empty. language: of all documents, or
    `auto`: each is guessed; those too short for that have the language of most at the beginning of the stream. fast: as
    in DocumentEncoder.
    """
    result = Prepared()
    size = max(tokenizer.get_vocab().values()) + 1
    options = {"tokenizer_hash": tokenizer_hash, "vocab_size": size}
    options |= {"block_tokens": block_tokens, "shard_tokens": shard_tokens}
    with ExitStack() as stack:
        seen = stack.enter_context(SeenDigests(out))
        documents, most = with_main_language(documents) if language == AUTO else (documents, language)
        pool = stack.enter_context(EncoderPool(tokenizer, workers, language, most, fast=fast))
        train = CorpusWriter(out, split="train", **options)
        aside = CorpusWriter(out / HELD_OUT, split=HELD_OUT, **options)
        encoded = ready_documents(pool, pieces(documents, seen, report), report, on_progress)
        opening, threshold = read_opening(encoded, held_out)
        result.held_out_raised = threshold > held_out
        for document in chain_freeing(opening, encoded):
            split, counts = (aside, result.held_out) if document.place < threshold else (train, result.train)
            split.add(document.ids, document.marks, document.num_bytes)
            counts.add(Counts(1, len(document.ids), document.num_bytes))
            result.languages[document.language] += 1
    languages = {"language": language, "languages": dict(sorted(result.languages.items()))}
    train.close(report.as_dict(), provenance, languages)
    aside.close({}, provenance, languages)
    return result


def with_main_language(documents: Iterable[Document]) -> tuple[Iterable[Document], str]:
    """The stream, and the language of most of its first documents."""
    stream, first = iter(documents), []
    size = 0
    while size < GUESS_CHARACTERS and len(first) < GUESS_DOCUMENTS and (document := next(stream, None)) is not None:
        first.append(document)
        size += len(document.text)
    return chain(first, stream), main_language(document.text for document in first)


def pieces(documents: Iterable[Document], seen: SeenDigests, report: DropReport) -> Iterator[Piece]:
    """Documents in pieces of about PIECE_CHARACTERS, duplicates left out."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= PIECE_CHARACTERS or len(batch) >= PIECE_DOCUMENTS:
            yield unique(batch, seen, report)
            batch, size = [], 0
    if batch:
        yield unique(batch, seen, report)


def unique(documents: list[Document], seen: SeenDigests, report: DropReport) -> Piece:
    piece = Piece([], [], [], [])
    encoded = [document.text.encode() for document in documents]
    digests = [digest(text) for text in encoded]
    for document, text, key, fresh in zip(documents, encoded, digests, seen.add(digests), strict=True):
        if not fresh:
            report.add(DUPLICATE, document.source)
            continue
        piece.texts.append(document.text)
        piece.sources.append(document.source)
        piece.digests.append(key)
        piece.sizes.append(len(text))
    return piece


def ready_documents(
    pool: EncoderPool, pieces: Iterable[Piece], report: DropReport, on_progress: Callable[[Counts], None]
) -> Iterator[Ready]:
    """Encoded documents in the order of the stream."""
    for piece, encoded in pool.map(pieces, lambda piece: piece.texts):
        stops = np.cumsum(encoded.lengths).tolist()
        starts = [0, *stops[:-1]]
        for place, (start, stop) in enumerate(zip(starts, stops, strict=False)):
            if start == stop:
                report.add(NO_TOKENS, piece.sources[place])
                continue
            ids, marks = encoded.ids[start:stop], encoded.marks[start:stop]
            hashed, size, language = unit_interval(piece.digests[place]), piece.sizes[place], encoded.languages[place]
            yield Ready(hashed, ids, marks, size, language)
        on_progress(Counts(len(piece.texts), len(encoded.ids), sum(piece.sizes)))


def read_opening(documents: Iterator[Ready], held_out: float) -> tuple[list[Ready], float]:
    """The first documents, and the hash below which a document is held out.

    The threshold is `held_out` unless the corpus ends within the opening with fewer than MIN_HELD_OUT below it.
    """
    opening: list[Ready] = []
    if held_out == 0:
        return opening, 0.0
    tokens = 0
    for document in documents:
        opening.append(document)
        tokens += len(document.ids)
        if len(opening) >= OPENING_DOCUMENTS or tokens >= OPENING_TOKENS:
            return opening, held_out
    wanted = min(MIN_HELD_OUT, len(opening) // MIN_HELD_OUT_SHARE)
    places = sorted(document.place for document in opening)
    if sum(place < held_out for place in places) >= wanted:
        return opening, held_out
    return opening, places[wanted]


def chain_freeing(opening: list[Ready], rest: Iterator[Ready]) -> Iterator[Ready]:
    """The opening, let go as it is read, and the rest."""
    opening.reverse()
    while opening:
        yield opening.pop()
    yield from rest
