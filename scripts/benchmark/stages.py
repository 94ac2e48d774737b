"""The stages of `prepare --engine ray`, task after task on one core: CPU seconds, bytes left, and a terabyte from them.

    python scripts/benchmark/stages.py --tokenizer DIR [--input sample:news] [--copies 8] [--near-duplicates 0.8]

The documents of the input, and copies of them, are dealt out to files, which are prepared in stages without Ray. In a
copy every other document has another beginning, so that it is a near-duplicate, and the rest another order of words, so
that it is none. For each stage there are CPU seconds for a GB of text (UTF-8), and what its tasks leave on the shared
disk, in GB for a GB of text. Then an extrapolation: a terabyte on nodes of `--cores` such cores. The stages of many
tasks are divided by the cores; those of one task, and the laying out of shards by the driver, are not. It supposes
that documents are as long and as often near-duplicates as here, that input files are many and of one size, and that
the shared disk carries `--disk` GB/s for every node: the input twice, and what the stages leave once in and once out.
The slower of computing and carrying decides. Ray's own share (some milliseconds a task) is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import Future
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from textssl.data.corpus.cleaning.filters import Cleaning
from textssl.data.corpus.engine_choice import choose_engine
from textssl.data.corpus.pieces import with_main_language
from textssl.data.corpus.stages import pipeline
from textssl.data.corpus.stages.job import Job
from textssl.data.corpus.stages.tasks import prepare
from textssl.data.corpus.writer import token_dtype
from textssl.data.text.documents import DropReport, read_documents
from textssl.tokenizer import load_backend, tokenizer_hash

ONE_TASK = ("groups", "dropped", "layout")  # what is not divided by the nodes
NODES = (1, 10, 100)


class Timed:
    """Workers that do a task at once in this process, and count its CPU seconds."""

    def __init__(self, job: Job) -> None:
        self.prepared, self.size, self.answer = [None], 1, prepare(job)[1]
        self.seconds: dict[str, float] = defaultdict(float)

    def submit(self, request: Any) -> Future[Any]:
        started, future = time.process_time(), Future[Any]()
        try:
            future.set_result(self.answer(request))
        except Exception as error:
            future.set_exception(error)
        self.seconds[request[0]] += time.process_time() - started
        return future

    def everywhere(self, request: Any) -> list[Future[Any]]:
        return [self.submit(request)]


def write_files(folder: Path, inputs: list[str], copies: int) -> tuple[list[str], int, int]:
    """Paths of JSONL files, one a copy of the input, and the documents and UTF-8 bytes of their texts."""
    texts = [document.text for document in read_documents(inputs, report=DropReport())]
    documents = size = 0
    paths = []
    for copy in range(copies):
        shuffle = random.Random(copy).shuffle
        paths.append(str(folder / f"{copy:03d}.jsonl"))
        with open(paths[-1], "w", encoding="utf-8") as file:
            for number, text in enumerate(texts):
                if copy and (number + copy) % 2:
                    text = f"Copy {copy}. {text}"
                elif copy:
                    words = text.split(" ")
                    shuffle(words)
                    text = " ".join(words)
                file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                documents, size = documents + 1, size + len(text.encode())
    return paths, documents, size


def measure(
    folder: Path, sources: list[str], tokenizer: str, near: float | None
) -> tuple[dict[str, float], dict[str, int], dict[str, Any]]:
    """CPU seconds by stage, bytes in the folder of each stage, and what corpus.json says of duplicates."""
    backend = load_backend(tokenizer)
    documents, engine = choose_engine(read_documents(sources, report=DropReport()), backend)
    size = max(backend.get_vocab().values()) + 1
    (folder / "work").mkdir()
    job = Job(
        out=folder / "out",
        folder=folder / "work",
        started_in=Path.cwd(),
        sources=tuple(sources),
        text_column="text",
        one_document_per="blank-line",
        strict=False,
        tokenizer=backend.to_str(),
        dtype=token_dtype(size).name,
        language="auto",
        main_language=with_main_language(documents)[1],
        fast=engine.fast,
        cleaning=Cleaning(near_duplicates=near),
        block_tokens=2**20,
        shard_tokens=2**24,
        versions={},
    )
    workers = Timed(job)
    layouts: list[float] = []
    lay_out = pipeline.lay_out

    def timed_layout(*given: Any) -> Any:
        started = time.process_time()
        made = lay_out(*given)
        layouts.append(time.process_time() - started)
        return made

    pipeline.lay_out = timed_layout
    corpus, _ = pipeline.write_in_stages(
        job,
        workers,
        tokenizer_hash=tokenizer_hash(backend),
        vocab_size=size,
        report=DropReport(),
        held_out=0.01,
        provenance={"engine": engine.name},
    )
    workers.seconds.pop("hello")
    sizes = {stage: tree_bytes(job.folder / stage) for stage in workers.seconds}
    sizes["shard"] = tree_bytes(corpus)
    manifest = json.loads((corpus / "corpus.json").read_text())
    return {**workers.seconds, "layout": layouts[0]}, {**sizes, "layout": 0}, manifest


def tree_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(inputs: list[str], tokenizer: str, copies: int, near: float | None, cores: int, disk: float) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with tempfile.TemporaryDirectory() as name:  # what is loaded once a process is loaded here
        measure(Path(name), write_files(Path(name), inputs, 1)[0], tokenizer, near)
    with tempfile.TemporaryDirectory() as name:
        sources, documents, size = write_files(Path(name), inputs, copies)
        seconds, written, manifest = measure(Path(name), sources, tokenizer, near)
    per_gb = {stage: value * 1e9 / size for stage, value in seconds.items()}
    print(f"{documents:,} documents, {size / 1e6:.1f} MB, {manifest['provenance']['engine']}")
    print(f"dropped: {manifest['dropped']}")
    print("\n| stage | CPU seconds a GB | MB/s of a core | left on disk, GB a GB |\n|---|---|---|---|")
    for stage, value in per_gb.items():
        rate = f"{1e3 / value:,.1f}" if value else "-"
        print(f"| `{stage}` | {value:,.1f} | {rate} | {written[stage] / size:.3f} |")
    many = sum(value for stage, value in per_gb.items() if stage not in ONE_TASK)
    alone = sum(value for stage, value in per_gb.items() if stage in ONE_TASK)
    print(f"| all | {many + alone:,.1f} | {1e3 / (many + alone):,.1f} | {sum(written.values()) / size:.3f} |")
    moved = 2 + 2 * sum(written.values()) / size  # GB a GB: the input twice, what stages leave once in and once out
    print(f"\n| nodes | {cores} cores each | disks, {disk:g} GB/s each | single tasks | 1 TB in all |")
    print("|---|---|---|---|---|")
    for nodes in NODES:
        computing, carrying, serial = many / (3.6 * cores * nodes), moved / (3.6 * disk * nodes), alone / 3.6
        total = max(computing, carrying) + serial
        hours = " | ".join(f"{value:,.2f} h" for value in (computing, carrying, serial, total))
        print(f"| {nodes} | {hours} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", default=["sample:news"], dest="inputs")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--near-duplicates", type=float, default=None, dest="near")
    parser.add_argument("--cores", type=int, default=32, help="of a node")
    parser.add_argument("--disk", type=float, default=1.0, help="GB/s that a node reads and writes on the shared disk")
    main(**vars(parser.parse_args()))
