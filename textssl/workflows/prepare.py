"""`textssl prepare`: text files -> token shards with marks and a held-out split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from textssl import __version__
from textssl.config import shortened
from textssl.data.corpus import MANIFEST, OWN_FILES, Corpus
from textssl.data.documents import DropReport, read_documents
from textssl.data.prepare import DUPLICATE, Counts, Prepared, write_corpus
from textssl.data.samples import without_sample
from textssl.errors import UserError, printable
from textssl.files import check_folder, written_folder
from textssl.sections import MOST_WORKERS
from textssl.terminal import Terminal
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
    block_tokens: int = 2**20,
    shard_tokens: int = 2**27,
    overwrite: bool = False,
) -> Corpus:
    """Tokenize documents into the folder `out`, print what became of them, and return the train split.

    workers: encoder processes, by default one a core; the bytes written do not depend on it. held_out: share of the
    documents, by hash of their text. overwrite: replace a finished corpus in `out`. Raises UserError for what is wrong
    with the input or options; an interrupted run leaves `out` as it was.
    """
    inputs = [str(path) for path in ([input] if isinstance(input, str | Path) else input)]
    workers = workers if workers is not None else len(os.sched_getaffinity(0))
    check_options(Path(out), workers, held_out, block_tokens, shard_tokens, overwrite)
    options: dict[str, Any] = {"strict": strict, "held_out": held_out, "text_column": text_column}
    options |= {"one_document_per": one_document_per, "shard_tokens": shard_tokens}
    report, console = DropReport(), Terminal()
    documents = read_documents(
        inputs, text_column=text_column, one_document_per=one_document_per, strict=strict, report=report
    )
    backend = load_backend(without_sample(tokenizer))
    with written_folder(out) as side, Progress(*columns(), console=Terminal(stderr=True), transient=True) as progress:
        show = Shown(progress)
        prepared = write_corpus(
            documents,
            side,
            backend,
            tokenizer_hash=tokenizer_hash(backend),
            report=report,
            workers=workers,
            held_out=held_out,
            block_tokens=block_tokens,
            shard_tokens=shard_tokens,
            provenance={
                "inputs": [printable(path) for path in inputs],
                "tokenizer": printable(tokenizer),
                "options": options,
                "textssl": __version__,
            },
            on_progress=show,
        )
        if prepared.train.documents == 0:
            dropped = f" ({report.summary()})" if report.total else ""
            raise UserError(f"no document is left to train on in {', '.join(inputs)}{dropped}")
    print_summary(console, Path(out), prepared, report, held_out)
    return Corpus.open(out)


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


def columns() -> tuple[Any, ...]:
    return (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[documents]:,} documents"),
        TextColumn("{task.fields[tokens]:,} tokens"),
        TextColumn("{task.fields[megabytes]:,.1f} MB, {task.fields[speed]:.1f} MB/s"),
        TimeElapsedColumn(),
    )


class Shown:
    """Adds up counts on a progress line (the end is not known while a stream is read)."""

    def __init__(self, progress: Progress):
        self.progress, self.counts = progress, Counts()
        self.task = progress.add_task("preparing", total=None, **self.fields(0.0))

    def fields(self, seconds: float) -> dict[str, Any]:
        megabytes = self.counts.bytes / 1e6
        speed = megabytes / seconds if seconds else 0.0
        counts = {"documents": self.counts.documents, "tokens": self.counts.tokens}
        return {**counts, "megabytes": megabytes, "speed": speed}

    def __call__(self, added: Counts) -> None:
        self.counts.add(added)
        elapsed = self.progress.tasks[0].elapsed or 0.0
        self.progress.update(self.task, **self.fields(elapsed))


def print_summary(console: Console, out: Path, prepared: Prepared, report: DropReport, held_out: float) -> None:
    table = Table(title=f"Prepared {out}")
    table.add_column("split")
    for name in ("documents", "tokens", "bytes", "bytes/token"):
        table.add_column(name, justify="right")
    for name, counts in (("train", prepared.train), ("held-out", prepared.held_out)):
        ratio = f"{counts.bytes / counts.tokens:.3f}" if counts.tokens else "-"
        table.add_row(name, f"{counts.documents:,}", f"{counts.tokens:,}", f"{counts.bytes:,}", ratio)
    console.print(table)
    if report.total:
        console.print(report.table())
    if report.counts[DUPLICATE]:
        console.print(f"{report.counts[DUPLICATE]:,} exact duplicates were dropped; the first of each was kept.")
    if prepared.held_out_raised:
        share = prepared.held_out.documents / (prepared.held_out.documents + prepared.train.documents)
        console.print(
            f"A share of {held_out:.1%} would leave too few held-out documents in a corpus this small: "
            f"{prepared.held_out.documents} are held out ({share:.1%})."
        )
    elif held_out and not prepared.held_out.documents:
        console.print("No document is held out: the corpus is too small for it. Held-out figures need a larger one.")
