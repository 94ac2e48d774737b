"""A corpus in several files for the tests of stages, and workers that do every task at once in this process."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from tests.tiny import texts, tiny_tokenizer
from textssl.data.corpus.cleaning.filters import Cleaning
from textssl.data.corpus.pieces import with_main_language
from textssl.data.corpus.prepare import Prepared, write_corpus
from textssl.data.corpus.stages import tasks
from textssl.data.corpus.stages.job import Job
from textssl.data.corpus.stages.pipeline import write_in_stages
from textssl.data.corpus.workers import Encoders
from textssl.data.text.documents import DropReport, expand_inputs, read_documents
from textssl.system.subprocesses import Here

OPTIONS: dict[str, Any] = {"block_tokens": 400, "shard_tokens": 1500}


def write_files(folder: Path, documents: int = 240, files: int = 4) -> list[str]:
    """Passages of real English, many of them equal or nearly so, across files; and a broken record in each."""
    rng, base = np.random.default_rng(0), texts()[:12]
    lines = []
    for number in range(documents):
        words = base[rng.integers(len(base))].split()
        start = rng.integers(3) * 20
        lines.append(
            json.dumps({"text": " ".join([*words[start : start + 50], *([str(number)] if number % 3 else [])])})
        )
    paths = []
    for place, part in enumerate(np.array_split(np.array(lines, dtype=object), files)):
        paths.append(str(folder / f"in{place}.jsonl"))
        Path(paths[-1]).write_text("\n".join([*part, "broken"]) + "\n")
    return paths


class HereAndNow(Here):
    """This process as a worker. stages: of the tasks that were done; fails_after: the number of tasks that succeed."""

    def __init__(self, job: Job, fails_after: int | None = None) -> None:
        super().__init__(job, tasks.prepare)
        self.stages, self.fails_after = list[str](), fails_after

    def submit(self, request: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            if self.fails_after is not None and len(self.stages) >= self.fails_after:
                raise RuntimeError("pulled the plug")
            future.set_result(self.answer(request))
            self.stages.append(request[0])
        except Exception as error:
            future.set_exception(error)
        return future


def job_of(place: Path, inputs: list[str], cleaning: Cleaning, **changed: Any) -> Job:
    (place / "work").mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {
        "out": place / "out",
        "folder": place / "work",
        "started_in": Path.cwd(),
        "sources": tuple(expand_inputs(inputs)),
        "text_column": "text",
        "one_document_per": "blank-line",
        "strict": False,
        "tokenizer": tiny_tokenizer().backend_tokenizer.to_str(),
        "dtype": "uint16",
        "language": "auto",
        "main_language": with_main_language(read_documents(inputs, report=DropReport()))[1],
        "fast": False,
        "cleaning": cleaning,
        **OPTIONS,
        "versions": {},
    }
    return Job(**{**given, **changed})


def in_stages(work: Job, workers: Any, held_out: float = 0.1) -> tuple[dict[str, bytes], Prepared]:
    size = max(tiny_tokenizer().backend_tokenizer.get_vocab().values()) + 1
    facts: dict[str, Any] = {"tokenizer_hash": "h", "vocab_size": size, "provenance": {"x": 1}}
    folder, prepared = write_in_stages(work, workers, report=DropReport(), held_out=held_out, **facts)
    return files_of(folder), prepared


def in_one_pass(
    folder: Path, inputs: list[str], cleaning: Cleaning, held_out: float = 0.1
) -> tuple[dict[str, bytes], Prepared]:
    report = DropReport()
    folder.mkdir()
    with Encoders(1) as encoders:
        prepared = write_corpus(
            read_documents(inputs, report=report),
            folder,
            tiny_tokenizer().backend_tokenizer,
            tokenizer_hash="h",
            report=report,
            encoders=encoders,
            held_out=held_out,
            cleaning=cleaning,
            provenance={"x": 1},
            **OPTIONS,
        )
    return files_of(folder), prepared


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
