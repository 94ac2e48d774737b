"""`prepare` beside the tokenizers library's own encode_batch, on the same text and cores, alternating in one run.

    python scripts/benchmark/prepare.py [--input sample:news] [--tokenizer DIR] [--repeats 3]

Ours is the whole command: reading, hashing, encoding, marks, writing, checksums and the rename. The peer only encodes,
texts already in memory, in batches of 1,000 through all cores (rayon). Both run in processes of their own. Prints
MB/s of text (UTF-8), the ratio (bar: at least 0.8), and the peak resident memory of all our processes together
(bar: under 1.5 GiB; pages shared by several processes count for each).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

BATCH_TEXTS = 1000


def ours(inputs: list[str], tokenizer: str, out: str) -> dict[str, float]:
    from textssl.commands.prepare import prepare
    from textssl.data.corpus.corpus import Corpus

    start, start_cpu = time.perf_counter(), cpu_seconds()
    corpus = prepare(inputs, tokenizer, out)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - start_cpu
    splits = [corpus, Corpus.open(corpus.held_out)]  # duplicates, which are read and not encoded, do not count
    return {"seconds": seconds, "cpu": cpu, "bytes": sum(split.bytes for split in splits)}


def peer(inputs: list[str], tokenizer: str, out: str) -> dict[str, float]:
    from textssl.data.text.documents import DropReport, read_documents
    from textssl.tokenizer import load_backend

    texts = [document.text for document in read_documents(inputs, report=DropReport())]
    backend = load_backend(tokenizer)
    backend.no_truncation()
    backend.no_padding()
    start, start_cpu = time.perf_counter(), cpu_seconds()
    for first in range(0, len(texts), BATCH_TEXTS):
        backend.encode_batch(texts[first : first + BATCH_TEXTS], add_special_tokens=False)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - start_cpu
    return {"seconds": seconds, "cpu": cpu, "bytes": sum(len(text.encode()) for text in texts)}


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    return sum(os.times()[:4])


def run(side: str, arguments: list[str]) -> dict[str, float]:
    """One side in a process of its own; adds the peak of the resident memory of it and its children, in bytes."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true"}
    command = [sys.executable, __file__, "--side", side, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, resident(watched))
        time.sleep(0.05)
    assert process.stdout is not None
    output = process.stdout.read()
    if process.returncode:
        sys.exit(process.returncode)
    return {**json.loads(output.splitlines()[-1]), "peak": peak}


def resident(process: psutil.Process) -> int:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_info().rss
    except psutil.NoSuchProcess:
        pass
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", default=["sample:news"])
    parser.add_argument("--tokenizer", help="a tokenizer folder; without it a BPE of 8,192 is trained on the input")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        measure = ours if arguments.side == "ours" else peer
        print(json.dumps(measure(arguments.input, arguments.tokenizer, arguments.out)))
        return
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = arguments.tokenizer
        if tokenizer is None:
            from textssl.commands.tokenizer import train_tokenizer

            tokenizer = str(Path(folder) / "tokenizer")
            train_tokenizer(arguments.input, tokenizer)
        compare(arguments.input, tokenizer, arguments.repeats, Path(folder))


def compare(inputs: list[str], tokenizer: str, repeats: int, folder: Path) -> None:
    ratios, cpu_ratios, peaks = [], [], []
    for repeat in range(repeats):
        shared = ["--input", *inputs, "--tokenizer", tokenizer, "--out"]
        results = {side: run(side, [*shared, str(folder / f"{side}-{repeat}")]) for side in ("peer", "ours")}
        speeds = {side: result["bytes"] / result["seconds"] / 1e6 for side, result in results.items()}
        ratios.append(speeds["ours"] / speeds["peer"])
        work = {side: result["bytes"] / result["cpu"] for side, result in results.items()}
        cpu_ratios.append(work["ours"] / work["peer"])
        peaks.append(results["ours"]["peak"])
        print(
            f"round {repeat + 1}: encode_batch {speeds['peer']:.2f} MB/s, prepare {speeds['ours']:.2f} MB/s, "
            f"ratio {ratios[-1]:.2f}, by CPU seconds {cpu_ratios[-1]:.2f}, prepare's peak {peaks[-1] / 2**20:,.0f} MiB",
            flush=True,
        )
    print(
        f"{' '.join(inputs)}, {len(os.sched_getaffinity(0))} cores: median ratio {statistics.median(ratios):.2f}, "
        f"by CPU seconds {statistics.median(cpu_ratios):.2f} (what a busy machine still measures), "
        f"peak resident memory {max(peaks) / 2**30:.2f} GiB"
    )


if __name__ == "__main__":
    main()
