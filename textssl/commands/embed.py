"""`textssl embed`: texts -> one file of vectors, with any model folder."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from textssl.data.corpus.pieces import first_documents
from textssl.data.text.documents import Document, DropReport, expand_inputs, read_documents
from textssl.data.text.inputs import HUB, fingerprint
from textssl.errors import UserError, printable, shortened
from textssl.inference.compute import COMPUTES, SAMPLE_CHARACTERS, Compute, check_runs, fast_format, proved_format
from textssl.inference.embedding_processes import (
    Embedders,
    embedding_nodes,
    embedding_processes,
    node_device,
    versions,
)
from textssl.inference.encoders import load_encoder
from textssl.inference.features import Encoder, unit_rows
from textssl.inference.loading import default_device, find_model, length_note, model_hash
from textssl.inference.vector_file import PRECISIONS, SUFFIXES, VectorWriter, unfinished_settings, written_files
from textssl.system.files import check_output
from textssl.system.hardware import EMULATED, native_bfloat16
from textssl.system.interrupts import Interrupted, resumable
from textssl.system.progress import working
from textssl.system.ray_workers import check_engine, cluster_words, ray_cluster
from textssl.system.subprocesses import MOST_WORKERS
from textssl.system.terminal import Terminal
from textssl.system.threads import choose_threads, use
from textssl.training.tracking import announce as tell

WINDOW_TEXTS = 4_096  # sorted by length, computed and saved together
WINDOW_CHARACTERS = 2**20


@dataclass(frozen=True)
class Embedded:
    """What became of a job. texts: rows of the file, or saved so far. width: size of a vector. tokens: after the cut.
    truncated: texts that were cut. resumed: texts that an earlier start had done. compute: the format that vectors were
    computed in. stopped_by: the signal, if any."""

    out: Path
    texts: int
    width: int
    tokens: int
    truncated: int
    dropped: int
    resumed: int
    compute: str
    stopped_by: str | None = None


def embed(
    model: str | Path,
    input: Sequence[str | Path] | str | Path,
    out: str | Path,
    precision: str = "float32",
    truncate_dim: int | None = None,
    normalize: bool | None = None,
    max_tokens: int | None = None,
    prompt: str | None = None,
    workers: int | None = None,
    text_column: str = "text",
    one_document_per: str = "blank-line",
    strict: bool = False,
    threads: int | None = None,
    compute: str = "auto",
    engine: str = "local",
    address: str | None = None,
) -> Embedded:
    """Write the vectors of all texts to `out`, in the order of the input, and print what became of them.

    out: FILE.npy, (texts, width), beside it FILE.ids.jsonl with the place of each text; or FILE.parquet with the
    columns id, embedding and source. A file that is there is replaced when the new one is complete.
    precision: float32, float16 or int8 (in each dimension multiples of the largest absolute value there / 127; the
    steps are in FILE.scale.npy and in the parquet metadata). truncate_dim: the first so many dimensions, made unit
    length again. normalize: True or False; None: as the modules of the model say, which for a plain transformers
    folder is the mean over its tokens. max_tokens: where longer texts are cut, special tokens counted, which a static
    encoder cannot; None: where the model ends. prompt: name or text of a sentence-transformers prompt. workers:
    processes, by default one for each GPU, else one; threads: that compute, by default as many as cores; the bytes
    written do not depend on them. compute: float32 or bfloat16 in the model, auto for bfloat16 where the hardware has
    it and a sample of the texts keeps the direction of its vectors; the numbers written are of `precision`. engine:
    `ray` has the nodes of a cluster embed, with `threads` CPUs a process (1 by default) or a GPU each; address: of the
    cluster, by default one on this machine with as many CPUs as `workers`, if that is given (docs/large-corpora.md).

    An interrupted job goes on when it is started again with the same settings. Raises UserError.
    """
    out, console, report = Path(out), Terminal(), DropReport()
    inputs = [str(path) for path in ([input] if isinstance(input, str | Path) else input)]
    ray = check_engine(engine, address, workers)
    check_options(out, precision, truncate_dim, max_tokens, workers, compute)
    folder = find_model(model)
    sources = expand_inputs(inputs)
    for file in written_files(out, precision):
        check_output(file, [source for source in sources if not source.startswith(HUB)])
    with ExitStack() as stack:
        stack.enter_context(resumable() if ray else nullcontext())  # leaving a cluster may take longer than we have
        cluster = stack.enter_context(ray_cluster(address, workers)) if ray else None
        device = default_device().type if cluster is None else node_device(cluster)
        documents = read_documents(
            inputs, text_column=text_column, one_document_per=one_document_per, strict=strict, report=report
        )
        choices: dict[str, Any] = {"max_tokens": max_tokens, "normalize": normalize, "prompt": prompt}
        settings = {"model": model_hash(folder), "input": fingerprint(sources), "precision": precision}
        settings |= {"truncate_dim": truncate_dim, **choices, "text_column": text_column}
        settings |= {"one_document_per": one_document_per, "device": device}
        settings |= {"versions": ", ".join(map(" ".join, versions().items()))}
        counted = use(choose_threads(threads))
        tell(Terminal(stderr=True), f"embedding with {counted if cluster is None else cluster_words(cluster)}")
        load = cache(lambda format: load_encoder(folder, **{**choices, "compute": format}))
        here = device == default_device().type  # whether what computes is as this machine
        if compute == "auto" and not here:
            chosen = Compute("float32", "the nodes have other hardware than this machine, which could try bfloat16")
        elif compute == "auto":
            documents, chosen = choose_compute(documents, out, settings, load)
        else:
            chosen = Compute(compute, "--compute")
            if compute == "bfloat16" and here and not native_bfloat16(device == "cuda"):
                tell(Terminal(stderr=True), EMULATED, style="yellow")
        tell(Terminal(stderr=True), str(chosen))
        settings["compute"] = choices["compute"] = chosen.format
        given = {"model": str(folder.absolute()), **choices}
        if cluster is not None:
            nodes = embedding_nodes(cluster, given, device, threads or 1)
            stack.callback(nodes.close)
            encoder = Embedders(nodes)
        elif (processes := workers or max(1, torch.cuda.device_count())) > 1:
            encoder = Embedders(stack.enter_context(embedding_processes(given, processes)))
        else:
            encoder = load(chosen.format)
            if compute == "bfloat16":
                check_runs(encoder, compute)
        load.cache_clear()  # of two formats that were compared, one goes
        if max_tokens is not None and encoder.max_tokens is None:
            raise UserError(
                f"--max-tokens is {max_tokens}, but {model} cuts no text (a static encoder reads every token): "
                "leave it out"
            )
        if max_tokens is None and (note := length_note(folder, encoder.max_tokens)):
            console.print(note, soft_wrap=True)
        if truncate_dim is not None and truncate_dim > encoder.width:
            raise UserError(
                f"--truncate-dim is {truncate_dim}, but the vectors of {model} have {encoder.width} numbers"
            )
        width = truncate_dim or encoder.width
        writer = stack.enter_context(VectorWriter(out, width=width, precision=precision, settings=settings))
        announce(console, writer)
        files, stopped_by = [], None
        try:
            write_vectors(encoder, documents, writer, again_unit=normalize is not False)
            if not writer.progress["rows"]:
                dropped = f" ({report.summary()})" if report.total else ""
                raise UserError(f"there is no text to embed in {', '.join(inputs)}{dropped}")
            files = writer.finish()
        except Interrupted as signal:
            stopped_by = signal.name
    done = writer.progress
    result = Embedded(
        out,
        texts=done["rows"],
        width=width,
        tokens=done["tokens"],
        truncated=done["truncated"],
        dropped=report.total,
        resumed=writer.resumed,
        compute=chosen.format,
        stopped_by=stopped_by,
    )
    show(console, result, files, precision, encoder.max_tokens, report)
    return result


def choose_compute(
    documents: Iterator[Document], out: Path, settings: dict[str, Any], load: Callable[[str], Encoder]
) -> tuple[Iterator[Document], Compute]:
    """The format that an interrupted job of the same settings began with, else what hardware and texts allow; and the
    documents, whole again."""
    before = unfinished_settings(out) or {}
    if before == {**settings, "compute": before.get("compute")} and before["compute"] in COMPUTES:
        return documents, Compute(before["compute"], "as in the start before")
    wanted = fast_format()
    if wanted.format == "float32":
        return documents, wanted
    sample = list(first_documents(documents, SAMPLE_CHARACTERS))
    return chain(sample, documents), proved_format(wanted, load, [document.text for document in sample])


def check_options(
    out: Path, precision: str, truncate_dim: int | None, max_tokens: int | None, workers: int | None, compute: str
) -> None:
    if out.suffix not in SUFFIXES:
        raise UserError(f"--out {out} must end in {' or '.join(SUFFIXES)}")
    if precision not in PRECISIONS:
        raise UserError(f"--precision is {precision!r}, it must be one of {', '.join(PRECISIONS)}")
    if compute not in COMPUTES:
        raise UserError(f"--compute is {shortened(compute)!r}, it must be one of {', '.join(COMPUTES)}")
    for name, value in (("--truncate-dim", truncate_dim), ("--max-tokens", max_tokens), ("--workers", workers)):
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}, it must be at least 1")
    if workers is not None and workers > MOST_WORKERS:
        raise UserError(f"--workers is {shortened(str(workers))}, it must be from 1 to {MOST_WORKERS:,}")


def windows(documents: Iterator[Document], sources: deque[list[str]]) -> Iterator[list[str]]:
    """Texts in windows of a bounded number and size; the places of a window go into `sources` before it is yielded."""
    texts: list[str] = []
    places: list[str] = []
    characters = 0
    for document in documents:
        texts.append(document.text)
        places.append(printable(document.source))
        characters += len(document.text)
        if len(texts) == WINDOW_TEXTS or characters >= WINDOW_CHARACTERS:
            sources.append(places)
            yield texts
            texts, places, characters = [], [], 0
    if texts:
        sources.append(places)
        yield texts


def write_vectors(
    encoder: Encoder | Embedders,
    documents: Iterator[Document],
    writer: VectorWriter,
    *,
    again_unit: bool,
) -> None:
    """Embed what the writer does not hold yet, window by window. again_unit: unit length after cutting dimensions."""
    sources: deque[list[str]] = deque()
    with working("embedding", unit="texts") as work:
        embedded = 0

        def on_batch(count: int) -> None:
            nonlocal embedded
            embedded += count
            speed = embedded / max(time.monotonic() - work.started, 0.1)
            work.at(embedded, f"{writer.resumed + embedded:,} texts, {speed:,.0f} texts/s")

        for _ in islice(documents, writer.resumed):  # read again, so that what is dropped is counted again
            pass
        stream = encoder.embed_windows(windows(documents, sources), on_batch=on_batch)
        for vectors, reading in stream:
            if writer.width < encoder.width:
                vectors = vectors[:, : writer.width]
                vectors = unit_rows(vectors) if again_unit else vectors
            writer.add(
                np.ascontiguousarray(vectors), sources.popleft(), truncated=reading.truncated, tokens=reading.tokens
            )


def announce(console: Console, writer: VectorWriter) -> None:
    """Say what an earlier start has left."""
    if writer.resumed:
        console.print(f"Going on after {writer.resumed:,} texts that an earlier start has embedded.")
    if writer.differing:
        names = ", ".join(writer.differing)
        console.print(f"An unfinished job for {writer.out} had other settings ({names}): starting anew.")


def show(
    console: Console, result: Embedded, files: list[Path], precision: str, max_tokens: int | None, report: DropReport
) -> None:
    """One line a fact."""
    if report.total:
        console.print(report.table())
    if result.stopped_by:
        console.print(f"Stopped by {result.stopped_by} with {result.texts:,} texts saved: start again to continue.")
        return
    console.print(
        f"Embedded {result.texts:,} texts ({result.tokens:,} tokens) as {result.width} {precision} numbers each."
    )
    if result.truncated:
        share = result.truncated / result.texts
        console.print(
            f"{result.truncated:,} of them ({share:.1%}) are longer than {max_tokens} tokens and were cut there."
        )
    console.print(f"Written: {', '.join(map(str, files))}")
