"""The driver of a corpus prepared in stages: it hands out tasks, reads their results, and writes corpus.json alone.

read      a source each: digests of its documents, ordered by bucket
exact     a range of buckets each: all but the first document of each digest
encode    a source each: its new documents, filtered and encoded, and the bands of their signatures, ordered by bucket
shared    a range of buckets each: which documents share a band (this and the next three with near-duplicates alone)
groups    one task: documents that share bands, directly or through others
similar   some groups each: near-duplicates among their documents
dropped   one task: all near-duplicates, by source
shard     a shard each: its files

A task leaves its result in a folder that appears whole (textssl.data.corpus.stages.job); one that was done before, by
a run that was interrupted, is not done again. A task that was lost is done again by whoever answers the requests.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.cleaning.filters import NEAR_DUPLICATE
from textssl.data.corpus.corpus import HELD_OUT
from textssl.data.corpus.prepare import Counts, Prepared
from textssl.data.corpus.shards import FILES, shard_file
from textssl.data.corpus.stages.buckets import bucket_ranges
from textssl.data.corpus.stages.encoded import ENCODE, Part
from textssl.data.corpus.stages.exact import DIGESTS_AT_ONCE, EXACT, READ
from textssl.data.corpus.stages.job import Job, add_report, appears, finished
from textssl.data.corpus.stages.layout import TRAIN, Kept, lay_out, threshold_of
from textssl.data.corpus.stages.similar import BANDS_AT_ONCE, DROPPED, GROUPS, SHARED, SIMILAR
from textssl.data.corpus.stages.tasks import HELLO, SHARD, TOKEN
from textssl.data.corpus.writer import facts_of, write_manifest
from textssl.data.text.drops import PLACES_KEPT, DropReport
from textssl.errors import UserError
from textssl.system.progress import working
from textssl.system.subprocesses import Workers

IN_FLIGHT = 3  # tasks per worker: as many wait as it takes to keep it busy
PATIENCE_SECONDS = 0.5  # between two looks at the tasks, in which a signal is noticed
CORPUS = "corpus"  # the folder of the result, within the job's


def write_in_stages(
    job: Job,
    workers: Workers,
    *,
    tokenizer_hash: str,
    vocab_size: int,
    report: DropReport,
    held_out: float,
    provenance: dict[str, Any],
) -> tuple[Path, Prepared]:
    """The folder of the corpus, to be moved into place, and what it holds: the bytes that `write_corpus` writes.

    report: of what was dropped before any source was read; what the tasks drop is added. Raises UserError for what is
    wrong with the sources, and where a node does not see the folder of the job.
    """
    check_nodes(job, workers)
    parts = range(len(job.sources))
    read = run_stage(job, workers, READ, "reading", ({"part": part} for part in parts))
    for one in read:
        add_report(report, one["report"])
    ranges = bucket_ranges(sum(one["documents"] for one in read), DIGESTS_AT_ONCE)
    run_stage(job, workers, EXACT, "comparing digests", map(bounds_of, ranges))
    encoded = run_stage(job, workers, ENCODE, "encoding", ({"part": part, "ranges": len(ranges)} for part in parts))
    for one in encoded:
        add_report(report, one["report"])
    similar = near_duplicates(job, workers, encoded) if job.cleaning.near_duplicates is not None else []
    add_near_duplicates(report, similar)

    result = Prepared(crowded=sum(one["crowded"] for one in similar))
    documents = sum(one["documents"] for one in encoded) - sum(one["dropped"] for one in similar)
    tokens = sum(one["tokens"] for one in encoded) - sum(one["tokens"] for one in similar)
    threshold = threshold_of(Kept(job), documents, tokens, held_out)
    result.held_out_raised = threshold > held_out
    kept = Kept(job, threshold)

    def count_languages(part: int, numbers: np.ndarray) -> None:
        codes = encoded[part]["languages"]
        counts = np.bincount(Part(job.place(ENCODE, part)).array("languages")[numbers], minlength=len(codes))
        result.languages.update({code: count for code, count in zip(codes, counts.tolist(), strict=True) if count})

    with working("laying out shards"):
        splits = lay_out(kept, count_languages)
    wanted = [(split, number, *bounds) for split, one in splits.items() for number, bounds in enumerate(one.shards)]
    shards = run_stage(
        job,
        workers,
        SHARD,
        "writing shards",
        (
            {"split": split, "number": number, "begin": begin, "end": end} | {"threshold": threshold}
            for split, number, begin, end in wanted
        ),
    )
    languages = {"language": job.language, "languages": dict(sorted(result.languages.items()))}
    for split, counts in ((TRAIN, result.train), (HELD_OUT, result.held_out)):
        folder = job.folder / CORPUS / ("" if split == TRAIN else split)
        folder.mkdir(parents=True, exist_ok=True)
        mine = [(index, shard) for index, shard in enumerate(shards) if wanted[index][0] == split]
        for index, shard in mine:
            move_shard(job.place(SHARD, index), folder, wanted[index][1])
            counts.add(Counts(shard["documents"], shard["tokens"], shard["bytes"]))
        write_manifest(
            folder,
            facts_of(split, tokenizer_hash, vocab_size),
            [shard for _, shard in mine],
            job.block_tokens,
            dropped=report.as_dict() if split == TRAIN else {},
            provenance=provenance,
            languages=languages,
            dropped_examples=report.examples() if split == TRAIN else {},
        )
    return job.folder / CORPUS, result


def run_stage(
    job: Job, workers: Workers, stage: str, words: str, arguments: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The results of the tasks of a stage, in their order. arguments: of each task.

    Where tasks fail, the error is that of the first among those that were under way.
    """
    tasks = list(arguments)
    results: dict[int, dict[str, Any]] = {}
    flying: dict[Future[dict[str, Any]], int] = {}
    failed: dict[int, BaseException] = {}
    waiting = iter(enumerate(tasks))
    with working(f"{words} (stage {stage})", total=len(tasks), unit="tasks") as work:
        while len(results) < len(tasks):
            while not failed and len(flying) < IN_FLIGHT * workers.size and (task := next(waiting, None)) is not None:
                index, given = task
                if (found := finished(job.place(stage, index))) is not None:
                    results[index] = found
                else:
                    flying[workers.submit((stage, index, given))] = index
            done, _ = wait(flying, timeout=PATIENCE_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                index = flying.pop(future)
                error = future.exception()
                if error is None:
                    results[index] = future.result()
                else:
                    failed[index] = error
            if failed and not any(index < min(failed) for index in flying.values()):
                raise failed[min(failed)]
            work.at(len(results))
    return [results[index] for index in range(len(tasks))]


def bounds_of(buckets: tuple[int, int]) -> dict[str, Any]:
    return {"first": buckets[0], "stop": buckets[1]}


def check_nodes(job: Job, workers: Workers) -> None:
    """UserError where a node does not see the job's folder, or the driver not what it writes there.

    The nodes of now are asked; one that comes later is not.
    """
    token = uuid.uuid4().hex
    (job.folder / TOKEN).write_text(token)
    for future in workers.everywhere((HELLO, 0, {"token": token})):
        answer = future.result()
        host = answer["host"]
        if not answer["seen"] or not appears(job.folder / answer["left"]):
            raise UserError(
                f"--out {job.out} is not on a file system that the node {host} shares with this machine: choose a "
                "folder that all nodes see"
            )


def near_duplicates(job: Job, workers: Workers, encoded: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results of the stage `similar`. encoded: those of the stage `encode`."""
    starts = [0, *accumulate(one["documents"] for one in encoded)]
    ranges = bucket_ranges(sum(one["bands"] for one in encoded), BANDS_AT_ONCE)
    run_stage(job, workers, SHARED, "comparing bands", ({**bounds_of(one), "starts": starts} for one in ranges))
    groups = run_stage(job, workers, GROUPS, "joining groups", [{"ranges": len(ranges)}])[0]
    runs = [{"first": first, "stop": stop, "starts": starts} for first, stop in pairwise(groups["bounds"])]
    similar = run_stage(job, workers, SIMILAR, "comparing near-duplicates", runs)
    run_stage(job, workers, DROPPED, "gathering near-duplicates", [{"judges": len(similar)}])
    return similar


def add_near_duplicates(report: DropReport, similar: Iterable[dict[str, Any]]) -> None:
    """Count what the stage `similar` dropped, with the first examples in the order of the corpus."""
    results = list(similar)
    examples = sorted(chain.from_iterable(one["examples"] for one in results))[:PLACES_KEPT]
    for _, source, like in examples:
        report.add(NEAR_DUPLICATE, source, like)
    if more := sum(one["dropped"] for one in results) - len(examples):
        report.counts[NEAR_DUPLICATE] += more


def move_shard(place: Path, folder: Path, number: int) -> None:
    """Move the files of a shard from its task's folder into the corpus; some may have been moved before.

    Raises FileNotFoundError where a file is in neither.
    """
    for kind in FILES:
        file, made = (shard_file(where, kind, number) for where in (folder, place))
        if made.exists() or not file.exists():
            os.replace(made, file)
