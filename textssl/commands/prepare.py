"""`textssl prepare`: text files -> token shards with marks and a held-out split."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from textssl import __version__
from textssl.data.corpus.cleaning.filters import NEAR_DUPLICATE, Cleaning
from textssl.data.corpus.cleaning.near_duplicates import MOST_SHARING
from textssl.data.corpus.corpus import OWN_FILES, Corpus
from textssl.data.corpus.engine_choice import WORTH_CHARACTERS, choose_engine
from textssl.data.corpus.manifest import MANIFEST
from textssl.data.corpus.pieces import DUPLICATE, GUESS_CHARACTERS
from textssl.data.corpus.prepare import Counts, Prepared, check_not_empty, write_corpus
from textssl.data.corpus.workers import Encoders
from textssl.data.language.languages import AUTO, UNKNOWN, check_language
from textssl.data.samples.cache import without_sample
from textssl.data.text.documents import Document, DropReport, expand_inputs, read_beginning, read_documents
from textssl.data.text.formats import Lines
from textssl.errors import UserError, printable, shortened
from textssl.system.files import check_folder, written_folder
from textssl.system.progress import Work, working
from textssl.system.ray_workers import check_engine
from textssl.system.subprocesses import MOST_WORKERS
from textssl.system.terminal import Terminal
from textssl.system.threads import usable_cores
from textssl.tokenizer import load_backend, tokenizer_hash


def prepare(
    input: Sequence[str | Path] | str | Path,
    tokenizer: str | Path,
    out: str | Path,
    workers: int | None = None,
    strict: bool = False,
    held_out: float = 0.01,
    text_column: str = "text",
    one_document_per: str = "blank-line",
    language: str = AUTO,
    block_tokens: int = 2**20,
    shard_tokens: int = 2**27,
    overwrite: bool = False,
    near_duplicates: float | None = None,
    min_characters: int | None = None,
    max_characters: int | None = None,
    keep_languages: Sequence[str] | str | None = None,
    drop_repetitive: bool = False,
    keep_matching: str | None = None,
    drop_matching: str | None = None,
    engine: str = "local",
    address: str | None = None,
) -> Corpus:
    """Tokenize documents into the folder `out`, print what became of them, and return the train split.

    workers: processes that read and encode, by default one a core; the bytes do not depend on it. held_out: share
    of the documents, by hash of their text. language: by whose rules sentences are cut, a code such as `de`, or `auto`:
    the language of each document is guessed. overwrite: replace a finished corpus in `out`. The other options say what
    is kept out of the corpus, as in Cleaning; keep_languages may be one string with commas. engine: `ray` has the nodes
    of a Ray cluster do the work, to the same bytes (docs/large-corpora.md); address: of the cluster, by default one on
    this machine for the time being. Raises UserError for what is wrong with the input or options; an interrupted run
    leaves `out` as it was, and with `ray` the same call goes on where it ended.
    """
    inputs = [str(path) for path in ([input] if isinstance(input, str | Path) else input)]
    check_engine(engine, address, workers)
    workers = workers if workers is not None else usable_cores()
    check_language(language)
    cleaning = Cleaning(
        min_characters=min_characters,
        max_characters=max_characters,
        keep_languages=codes_of(keep_languages),
        drop_repetitive=drop_repetitive,
        keep_matching=keep_matching,
        drop_matching=drop_matching,
        near_duplicates=near_duplicates,
    )
    check_options(Path(out), workers, held_out, block_tokens, shard_tokens, overwrite)
    options: dict[str, Any] = {"strict": strict, "held_out": held_out, "text_column": text_column}
    options |= {"one_document_per": one_document_per, "shard_tokens": shard_tokens, "language": language}
    options |= cleaning.given()
    with Encoders(workers if engine == "local" else 0) as encoders:
        report, reading_report, console = DropReport(), DropReport(), Terminal()
        reading: dict[str, Any] = {"text_column": text_column, "one_document_per": one_document_per}
        documents: Iterator[Document | Lines]
        if engine == "ray":  # it is the beginning that is read here
            documents = read_documents(inputs, report=DropReport(), **reading)
        elif strict:
            documents = read_documents(inputs, strict=True, report=reading_report, **reading)
        else:
            opening = max(WORTH_CHARACTERS, GUESS_CHARACTERS)
            documents = read_beginning(inputs, characters=opening, report=reading_report, **reading)
        backend = load_backend(without_sample(tokenizer))
        documents, encodes = choose_engine(documents, backend)
        log = Terminal(stderr=True)
        if encodes.note:
            log.print(encodes.note)
        provenance = {
            "inputs": [printable(path) for path in inputs],
            "tokenizer": printable(tokenizer),
            "options": options,
            "engine": encodes.name,
            "textssl": __version__,
        }
        common: dict[str, Any] = {"tokenizer_hash": tokenizer_hash(backend), "report": report, "held_out": held_out}
        common |= {"language": language, "fast": encodes.fast, "cleaning": cleaning, "provenance": provenance}
        common |= {"block_tokens": block_tokens, "shard_tokens": shard_tokens}
        if engine == "ray":
            from textssl.data.corpus.stages.on_ray import prepare_on_ray

            sources = expand_inputs(inputs, report)
            prepared = prepare_on_ray(
                documents,
                sources,
                Path(out),
                backend,
                address=address,
                num_cpus=workers,
                strict=strict,
                **reading,
                **common,
            )
        else:
            log.print(f"preparing with {workers} process{'es' * (workers > 1)}, encoding with {encodes.name}")
            with written_folder(out) as side, working("preparing", unit="documents") as work:
                shown = Shown(work)
                prepared = write_corpus(
                    documents,
                    side,
                    backend,
                    text_column=text_column,
                    reading=reading_report,
                    encoders=encoders,
                    on_progress=shown,
                    **common,
                )
                check_not_empty(prepared, inputs, report)
    print_summary(console, Path(out), prepared, report, held_out)
    return Corpus.open(out)


def codes_of(languages: Sequence[str] | str | None) -> tuple[str, ...] | None:
    """Codes of languages as a tuple, from one string with commas too."""
    if languages is None:
        return None
    return tuple(code.strip() for code in (languages.split(",") if isinstance(languages, str) else languages))


def check_options(
    out: Path, workers: int, held_out: float, block_tokens: int, shard_tokens: int, overwrite: bool
) -> None:
    if not 1 <= workers <= MOST_WORKERS:
        raise UserError(f"--workers is {shortened(str(workers))}, it must be from 1 to {MOST_WORKERS:,}")
    if not 0 <= held_out < 1:
        raise UserError(f"held_out is {held_out}, it must be a share from 0 to below 1")
    if not 1 <= block_tokens <= shard_tokens:
        raise UserError(f"block_tokens ({block_tokens}) must be from 1 to shard_tokens ({shard_tokens})")
    check_folder(out, OWN_FILES, MANIFEST)
    if (out / MANIFEST).is_file() and not overwrite:
        raise UserError(f"--out {out} is a finished corpus already: choose another folder, or give --overwrite")


class Shown:
    """Adds up counts and shows them, without a total, which is unknown while a stream is read."""

    def __init__(self, work: Work):
        self.work, self.counts = work, Counts()

    def __call__(self, added: Counts) -> None:
        self.counts.add(added)
        megabytes, seconds = self.counts.bytes / 1e6, max(time.monotonic() - self.work.started, 1e-3)
        counted = f"{self.counts.documents:,} documents, {self.counts.tokens:,} tokens"
        speed = f"{megabytes:,.1f} MB, {megabytes / seconds:.1f} MB/s"
        self.work.at(self.counts.documents, f"{counted}, {speed}")


def print_summary(console: Console, out: Path, prepared: Prepared, report: DropReport, held_out: float) -> None:
    table = Table(title=f"Prepared {out}")
    table.add_column("split")
    for name in ("documents", "tokens", "bytes", "bytes/token"):
        table.add_column(name, justify="right")
    for name, counts in (("train", prepared.train), ("held-out", prepared.held_out)):
        ratio = f"{counts.bytes / counts.tokens:.3f}" if counts.tokens else "-"
        table.add_row(name, f"{counts.documents:,}", f"{counts.tokens:,}", f"{counts.bytes:,}", ratio)
    console.print(table)
    if prepared.languages:
        console.print(f"Sentences were cut as those of {language_words(prepared.languages)}.")
    if report.total:
        console.print(report.table())
    for reason, words, kept in (
        (DUPLICATE, "exact duplicate", "each"),
        (NEAR_DUPLICATE, "near-duplicate", "each group"),
    ):
        if count := report.counts[reason]:
            many = "s were" if count > 1 else " was"
            console.print(f"{count:,} {words}{many} dropped; the first of {kept} was kept.")
    if prepared.crowded:
        console.print(
            f"{prepared.crowded:,} documents have much in common with more than {MOST_SHARING} others: some of their "
            "near-duplicates may have been kept."
        )
    if prepared.held_out_raised:
        share = prepared.held_out.documents / (prepared.held_out.documents + prepared.train.documents)
        console.print(
            f"A share of {held_out:.1%} would leave too few held-out documents in a corpus this small: "
            f"{prepared.held_out.documents} are held out ({share:.1%})."
        )
    elif held_out and not prepared.held_out.documents:
        console.print("No document is held out: the corpus is too small for it. Held-out figures need a larger one.")


def language_words(documents: Mapping[str, int]) -> str:
    """Languages with their documents, the commonest first: de (1,204 documents), en (3 documents)."""
    ordered = sorted(documents.items(), key=lambda item: (-item[1], item[0]))
    named = [("English, as the language is unknown" if code == UNKNOWN else code, count) for code, count in ordered]
    return ", ".join(f"{name} ({count:,} document{'s' * (count != 1)})" for name, count in named)
