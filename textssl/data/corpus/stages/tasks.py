"""What a worker does when it is asked for a task of a stage."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from textssl import __version__
from textssl.data.corpus.stages.encoded import ENCODE, Part, encode_part, forget_arrays
from textssl.data.corpus.stages.exact import EXACT, READ, compare_digests, read_part
from textssl.data.corpus.stages.job import Job, appears, run_task
from textssl.data.corpus.stages.layout import Kept, Place, documents_between
from textssl.data.corpus.stages.similar import (
    DROPPED,
    GROUPS,
    SHARED,
    SIMILAR,
    compare_bands,
    gather_dropped,
    join_groups,
    judge_groups,
)
from textssl.data.corpus.workers import worker
from textssl.data.corpus.writer import ShardWriter
from textssl.system.ray_workers import check_versions, installed
from textssl.system.subprocesses import answer_requests
from textssl.tokenizer.engines import engine_name

HELLO, SHARD = "hello", "shard"
TOKEN = "token"
TOKENS_AT_ONCE = 2**22  # of a shard that is written


def prepare(job: Job) -> tuple[None, Callable[[tuple[str, int, dict[str, Any]]], dict[str, Any]]]:
    """The function that does a task: (stage, index, arguments) -> its result. Its results are files of job.folder.

    Raises UserError where other versions are installed here than where the job comes from.
    """
    check_versions(job.versions, versions(job.tokenizer, fast=job.fast))
    forget_arrays()  # of a job before, which may have had the same folder

    @cache
    def work() -> Callable[[list[str]], Any]:  # loaded for the stage that encodes alone
        return worker(job.tokenizer, job.language, job.main_language, job.fast, job.cleaning)

    def fill(stage: str, folder: Path, arguments: dict[str, Any]) -> dict[str, Any]:
        if stage == ENCODE:
            return encode_part(job, work=work(), folder=folder, **arguments)
        return STAGES[stage](job, folder=folder, **arguments)

    def answer(request: tuple[str, int, dict[str, Any]]) -> dict[str, Any]:
        stage, index, arguments = request
        if stage == HELLO:
            return greet(job, **arguments)
        with inside(job.started_in):
            return run_task(job, stage, index, partial(fill, stage, arguments=arguments))

    return None, answer


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Relative paths are relative to `folder` in this block, on a machine that has it."""
    with chdir(folder) if folder.is_dir() else nullcontext():
        yield


def serve() -> None:
    """In a subprocess: receives a job, then tasks."""
    answer_requests(prepare)


def greet(job: Job, token: str) -> dict[str, Any]:
    """Whether this node sees what the driver wrote into the folder, and the file that it leaves there."""
    file = job.folder / TOKEN
    seen = appears(file) and file.read_text() == token
    left = f"{TOKEN}-{uuid.uuid4().hex}"
    if seen:
        (job.folder / left).write_text(token)
    return {"host": socket.gethostname(), "seen": seen, "left": left}


def versions(tokenizer: str, *, fast: bool) -> dict[str, str]:
    """What the bytes of the corpus depend on here: packages, and the engine that encodes. tokenizer: as JSON."""
    engine = engine_name(Tokenizer.from_str(tokenizer)) if fast else None
    return {
        "textssl": __version__,
        "engine": engine or "tokenizers",
        **installed("tokenizers", "sentencex", "rensa"),
    }


def write_shard(
    job: Job, split: str, number: int, begin: Place, end: Place, threshold: float, folder: Path
) -> dict[str, Any]:
    """Stage `shard`: the files of shard `number` of a split, which holds its documents from `begin` to before `end`."""
    writer = ShardWriter(folder, number, np.dtype(job.dtype), job.block_tokens)
    kept = Kept(job, threshold)
    for part, numbers in documents_between(kept, split, begin, end):
        encoded = Part(job.place(ENCODE, part))
        lengths = encoded.array("lengths")
        ends = np.cumsum(lengths)
        for chosen in runs_of(numbers, lengths):
            first, stop = int(ends[chosen[0]] - lengths[chosen[0]]), int(ends[chosen[-1]])
            wanted = np.zeros(chosen[-1] + 1 - chosen[0], dtype=bool)
            wanted[chosen - chosen[0]] = True
            tokens = np.repeat(wanted, lengths[chosen[0] : chosen[-1] + 1])
            ids, marks = (encoded.array(name)[first:stop][tokens] for name in ("ids", "marks"))
            writer.add(ids, marks, lengths[chosen], encoded.array("sizes")[chosen])
    return writer.close()


def runs_of(numbers: np.ndarray, lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers of documents in runs that span about TOKENS_AT_ONCE tokens of their part. lengths: of all documents."""
    ends = np.cumsum(lengths)
    bounds = np.flatnonzero(np.diff(ends[numbers] // TOKENS_AT_ONCE)) + 1
    yield from (run for run in np.split(numbers, bounds) if len(run))


STAGES: dict[str, Callable[..., dict[str, Any]]] = {
    READ: read_part,
    EXACT: compare_digests,
    SHARED: compare_bands,
    GROUPS: join_groups,
    SIMILAR: judge_groups,
    DROPPED: gather_dropped,
    SHARD: write_shard,
}
