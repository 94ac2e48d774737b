"""`textssl prepare --engine ray`: the stages on a Ray cluster, in a folder that an interrupted run leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from textssl.data.corpus.cleaning.filters import Cleaning
from textssl.data.corpus.pieces import with_main_language
from textssl.data.corpus.prepare import Prepared, check_not_empty
from textssl.data.corpus.stages.job import Job
from textssl.data.corpus.stages.pipeline import write_in_stages
from textssl.data.corpus.stages.tasks import versions
from textssl.data.corpus.stages.work_folder import WorkFolder, work_folder
from textssl.data.corpus.workers import ONE_CORE
from textssl.data.corpus.writer import token_dtype
from textssl.data.language.languages import AUTO
from textssl.data.text.documents import Document, DropReport
from textssl.data.text.formats import Lines
from textssl.data.text.inputs import fingerprint
from textssl.system.interrupts import resumable
from textssl.system.ray_workers import RayWorkers, cluster_words, ray_cluster
from textssl.system.terminal import Terminal

TASKS = "textssl.data.corpus.stages.tasks"  # the module that the nodes run


def prepare_on_ray(
    opening: Iterable[Document | Lines],
    sources: Sequence[str],
    out: Path,
    tokenizer: Tokenizer,
    *,
    address: str | None,
    num_cpus: int | None,
    text_column: str,
    one_document_per: str,
    strict: bool,
    report: DropReport,
    tokenizer_hash: str,
    held_out: float,
    language: str,
    fast: bool,
    cleaning: Cleaning,
    block_tokens: int,
    shard_tokens: int,
    provenance: dict[str, Any],
) -> Prepared:
    """Make the corpus `out` of single sources (of `expand_inputs`) on a cluster, as `write_corpus` does here.

    opening: the documents, of which the first are read here for the main language. address, num_cpus: as in
    ray_cluster. Raises UserError.
    """
    main_language = with_main_language(opening)[1] if language == AUTO else language
    vocab_size = max(tokenizer.get_vocab().values()) + 1
    settings = {**provenance, "files": fingerprint(sources), "tokenizer_hash": tokenizer_hash}
    needed = versions(tokenizer.to_str(), fast=fast)
    settings |= {"block_tokens": block_tokens, "main_language": main_language, "versions": needed}
    with work_folder(out, settings) as work, resumable(), ray_cluster(address, num_cpus) as ray:
        announce(work, provenance["engine"], ray, len(sources))
        job = Job(
            out=work.place,
            folder=work.folder,
            started_in=Path.cwd(),
            sources=tuple(sources),
            text_column=text_column,
            one_document_per=one_document_per,
            strict=strict,
            tokenizer=tokenizer.to_str(),
            dtype=token_dtype(vocab_size).name,
            language=language,
            main_language=main_language,
            fast=fast,
            cleaning=cleaning,
            block_tokens=block_tokens,
            shard_tokens=shard_tokens,
            versions=needed,
        )
        workers = RayWorkers(ray, "a task of `prepare`", TASKS, job, ONE_CORE)
        try:
            corpus, prepared = write_in_stages(
                job,
                workers,
                tokenizer_hash=tokenizer_hash,
                vocab_size=vocab_size,
                report=report,
                held_out=held_out,
                provenance=provenance,
            )
        finally:
            workers.close()
        check_not_empty(prepared, provenance["inputs"], report)
        work.finish(corpus)
    return prepared


def announce(work: WorkFolder, encodes: str, ray: Any, num_sources: int) -> None:
    """Say who works, and what an earlier run has left."""
    log = Terminal(stderr=True)
    log.print(f"preparing on {cluster_words(ray)}, encoding with {encodes}")
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if num_sources < cpus:
        log.print(f"A file is one task: {num_sources} of them leave CPUs idle, more and smaller ones would not.")
    if work.resumed:
        log.print("Going on with what an earlier run has left.")
    if work.differing:
        log.print(f"An unfinished run had other settings ({', '.join(work.differing)}): starting anew.")
