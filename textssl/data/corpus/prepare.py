"""A stream of documents -> a prepared corpus: hashed, deduplicated, encoded in parallel, split, written in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from textssl.data.corpus.cleaning.filters import NEAR_DUPLICATE, Cleaning, shown
from textssl.data.corpus.cleaning.near_duplicates import Match, NearDuplicates
from textssl.data.corpus.cleaning.shingles import Shingled
from textssl.data.corpus.corpus import HELD_OUT
from textssl.data.corpus.dedup import SeenDigests, unit_intervals
from textssl.data.corpus.pieces import new_ones, pieces, with_main_language
from textssl.data.corpus.workers import Encoders, Piece, Worked, in_order
from textssl.data.corpus.writer import CorpusWriter
from textssl.data.language.languages import AUTO
from textssl.data.text.documents import Document, DropReport
from textssl.data.text.drops import NO_TOKENS
from textssl.data.text.formats import Lines
from textssl.errors import UserError

OPENING_DOCUMENTS = 4000  # a corpus with more than these needs no minimum of held-out documents
OPENING_TOKENS = 2**23
MIN_HELD_OUT = 16  # documents held out of a small corpus, at most one in MIN_HELD_OUT_SHARE
MIN_HELD_OUT_SHARE = 5


@dataclass
class Counts:
    """Totals of one split. bytes: of UTF-8."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0

    def add(self, other: Counts) -> None:
        self.documents += other.documents
        self.tokens += other.tokens
        self.bytes += other.bytes


@dataclass
class Prepared:
    """What `write_corpus` made. held_out_raised: whether more than the share was held out, as the corpus is small.

    languages: code -> documents of both splits whose sentences were split by the rules of that language. crowded: as
    in NearDuplicates.
    """

    train: Counts = field(default_factory=Counts)
    held_out: Counts = field(default_factory=Counts)
    held_out_raised: bool = False
    languages: Counter[str] = field(default_factory=Counter)
    crowded: int = 0


class Ready(NamedTuple):
    """Encoded documents, one after another.

    places: (documents,) in [0, 1), by hash. lengths, sizes: (documents,) tokens, UTF-8 bytes. ids, marks: (tokens,).
    """

    places: np.ndarray
    lengths: np.ndarray
    sizes: np.ndarray
    languages: list[str]
    ids: np.ndarray
    marks: np.ndarray

    def chosen(self, which: np.ndarray) -> Ready:
        """The documents that are True in which (documents,)."""
        tokens = np.repeat(which, self.lengths)
        languages = [language for language, wanted in zip(self.languages, which.tolist(), strict=True) if wanted]
        arrays = self.places[which], self.lengths[which], self.sizes[which]
        return Ready(*arrays, languages, self.ids[tokens], self.marks[tokens])


def write_corpus(
    documents: Iterable[Document | Lines],
    out: Path,
    tokenizer: Tokenizer,
    *,
    text_column: str = "text",
    tokenizer_hash: str,
    report: DropReport,
    reading: DropReport | None = None,
    encoders: Encoders,
    held_out: float = 0.01,
    language: str = AUTO,
    fast: bool = False,
    cleaning: Cleaning = Cleaning(),  # noqa: B008 (immutable)
    block_tokens: int = 2**20,
    shard_tokens: int = 2**27,
    provenance: dict[str, Any] | None = None,
    on_progress: Callable[[Counts], None] = lambda counts: None,
) -> Prepared:
    """Fill the folder `out` (a side folder, to be renamed by the caller) from a stream, in bounded memory.

    Lines in the stream, which must not begin with them, are read by the workers; text_column: that holds their text.
    reading: gets what is dropped while the stream is read, and goes into `report` with what the workers drop.
    The bytes written depend on the documents and options alone, not on `encoders` or `fast`. Exact duplicates, texts
    that break a rule of `cleaning`, those without tokens and then near-duplicates are dropped and counted in `report`.
    A document is held out where its hash falls below the share `held_out`; a corpus of under OPENING_DOCUMENTS gets at
    least MIN_HELD_OUT (those of the smallest hashes), but not more than a fifth of its documents. language: of all
    documents, or `auto`: each is guessed, and those too short for that have the language of most at the beginning of
    the stream. fast: as in DocumentEncoder. on_progress: called with the counts of each piece that was encoded.
    """
    result, reading = Prepared(), reading if reading is not None else DropReport()
    size = max(tokenizer.get_vocab().values()) + 1
    options = {"tokenizer_hash": tokenizer_hash, "vocab_size": size}
    options |= {"block_tokens": block_tokens, "shard_tokens": shard_tokens}
    with ExitStack() as stack:
        seen = stack.enter_context(SeenDigests(out))
        documents, most = with_main_language(documents) if language == AUTO else (documents, language)
        workers = encoders.prepared(tokenizer, text_column, language, most, fast=fast, cleaning=cleaning)
        answers = in_order(workers, pieces(documents, reading))
        near = dropping = None
        if cleaning.near_duplicates is not None:
            near = stack.enter_context(NearDuplicates(out, cleaning.near_duplicates))
            dropping = partial(drop_near_duplicates, near, report)
        train = CorpusWriter(out, split="train", **options)
        aside = CorpusWriter(out / HELD_OUT, split=HELD_OUT, **options)
        new = new_ones(answers, seen, report)
        encoded = ready_documents(new, dropping, report, on_progress)
        opening, threshold = read_opening(encoded, held_out)
        result.held_out_raised = threshold > held_out
        for ready in chain_freeing(opening, encoded):
            held = ready.places < threshold
            for which, split, counts in ((~held, train, result.train), (held, aside, result.held_out)):
                part = ready if which.all() else ready.chosen(which)
                split.add_documents(part.ids, part.marks, part.lengths, part.sizes)
                counts.add(Counts(len(part.lengths), len(part.ids), int(part.sizes.sum())))
            result.languages.update(ready.languages)
        result.crowded = near.crowded if near else 0
        report.merge(reading)
    languages = {"language": language, "languages": dict(sorted(result.languages.items()))}
    train.close(report.as_dict(), provenance, languages, report.examples())
    aside.close({}, provenance, languages)
    return result


def check_not_empty(prepared: Prepared, inputs: Sequence[str], report: DropReport) -> None:
    """UserError where there is nothing to train on."""
    if prepared.train.documents == 0:
        dropped = f" ({report.summary()})" if report.total else ""
        raise UserError(f"no document is left to train on in {', '.join(inputs)}{dropped}")


def ready_documents(
    pieces: Iterable[tuple[Piece, Worked, np.ndarray]],
    dropping: Callable[[Piece, Shingled, np.ndarray], list[int]] | None,
    report: DropReport,
    on_progress: Callable[[Counts], None],
) -> Iterator[Ready]:
    """Encoded documents in the order of the stream; those that are dropped are counted in `report`.

    pieces: each with (documents,) bool, which of its documents are new. dropping: gets the documents of a piece that
    broke no rule, what near-duplicates are found by, and (documents,) bool which of them are wanted; returns indices of
    those to drop.
    """
    for piece, worked, fresh in pieces:
        encoded = worked.encoded
        kept, fresh = without_faults(piece, worked, fresh, report)
        if not kept.sources:
            continue
        sizes = np.array(kept.sizes, dtype=np.int64)
        arrays = unit_intervals(kept.digests), encoded.lengths, sizes
        documents = Ready(*arrays, encoded.languages, encoded.ids, encoded.marks)
        wanted = encoded.lengths > 0
        for place in np.flatnonzero(~wanted & fresh).tolist():
            report.add(NO_TOKENS, kept.sources[place])
        wanted &= fresh
        if dropping is not None and worked.shingled is not None:
            wanted[dropping(kept, worked.shingled, wanted)] = False
        yield documents if wanted.all() else documents.chosen(wanted)
        on_progress(Counts(len(piece.sources), len(encoded.ids), sum(piece.sizes)))


def without_faults(piece: Piece, worked: Worked, fresh: np.ndarray, report: DropReport) -> tuple[Piece, np.ndarray]:
    """The documents of a piece that break no rule, and which of them are new."""
    if not any(worked.faults):
        return piece, fresh
    for source, fault, is_new in zip(piece.sources, worked.faults, fresh.tolist(), strict=True):
        if fault is not None and is_new:
            report.add(fault.reason, source, fault.detail)
    kept = [fault is None for fault in worked.faults]
    columns: list[list[Any]] = [list(compress(items, kept)) for items in piece]
    return Piece(*columns), fresh[kept]


def drop_near_duplicates(
    near: NearDuplicates, report: DropReport, piece: Piece, shingled: Shingled, wanted: np.ndarray
) -> list[int]:
    """Indices of the near-duplicates among the documents that are True in wanted (documents,)."""
    indices = np.flatnonzero(wanted).tolist()
    matches = near.add(shingled.chosen(wanted), [piece.sources[index] for index in indices])
    dropped = []
    for index, match in zip(indices, matches, strict=True):
        if match is not None:
            report.add(NEAR_DUPLICATE, piece.sources[index], likeness(match, shown(piece.texts[index])))
            dropped.append(index)
    return dropped


def likeness(match: Match, text: str) -> str:
    """What a near-duplicate is like, for the report. text: the beginning of its own."""
    return f"{match.similarity:.2f} like {match.source}: {text}"


def read_opening(documents: Iterator[Ready], held_out: float) -> tuple[list[Ready], float]:
    """The first documents, and the hash below which a document is held out.

    The threshold is `held_out` unless the corpus ends within the opening with fewer than MIN_HELD_OUT below it.
    """
    opening: list[Ready] = []
    if held_out == 0:
        return opening, 0.0
    count = tokens = 0
    for part in documents:
        opening.append(part)
        count += len(part.lengths)
        tokens += len(part.ids)
        if count >= OPENING_DOCUMENTS or tokens >= OPENING_TOKENS:
            return opening, held_out
    return opening, small_threshold(np.concatenate([np.zeros(0), *(part.places for part in opening)]), held_out)


def small_threshold(places: np.ndarray, held_out: float) -> float:
    """The hash below which a document of a small corpus is held out. places: (documents,) of all of them."""
    wanted = min(MIN_HELD_OUT, len(places) // MIN_HELD_OUT_SHARE)
    if np.count_nonzero(places < held_out) >= wanted:
        return held_out
    return float(np.sort(places)[wanted])


def chain_freeing(opening: list[Ready], rest: Iterator[Ready]) -> Iterator[Ready]:
    """The opening, freed as it is read, then the rest."""
    opening.reverse()
    while opening:
        yield opening.pop()
    yield from rest
