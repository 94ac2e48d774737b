"""`prepare` beside the tokenizers library's own encode_batch, on the same text and cores, alternating in one run.

    python scripts/benchmark/prepare.py [--input sample:news] [--tokenizer DIR] [--repeats 3] [--megabytes 100]

Ours is the whole command: start-up, reading, hashing, encoding, marks, writing, checksums and the rename, with the fast
engine where it is installed and suits the tokenizer, and with `--library` a third side without it. The peer only
encodes, texts already in memory, in batches of 1,000 through all cores (rayon), of which PEER_MEGABYTES say its speed.
Each runs in a process of its own. `--megabytes` repeats the input, each copy with another beginning, since duplicates
are dropped. Prints MB/s of text (UTF-8), the ratio (bar with an engine: 5 for WordPiece, 4 for byte-level BPE; without:
0.8), and the peak resident memory of all our processes together (bar: under 1.5 GiB; pages shared by several processes
count for each). With `--library` the two corpora must hold the same bytes, or it ends with an error. With `--clean`
there is a side that leaves out near-duplicates and repetitive documents too; its MB are those that it reads.
"""

from __future__ import annotations

import argparse
import bisect
import filecmp
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from scripts.benchmark.figures import add_json, in_turns, write

BATCH_TEXTS = 1000
PEER_MEGABYTES = 12
STARTED = "TEXTSSL_BENCHMARK_STARTED"  # when the process was, which the kernel's own record knows to half a second


def ours(inputs: list[str], tokenizer: str, out: str) -> dict[str, float]:
    from textssl.commands.prepare import prepare
    from textssl.data.corpus.corpus import Corpus

    corpus = prepare(inputs, tokenizer, out)
    splits = [corpus, Corpus.open(corpus.held_out)]  # duplicates, which are read and not encoded, do not count
    return {**since_start(), "bytes": sum(split.bytes for split in splits)}


def library(inputs: list[str], tokenizer: str, out: str) -> dict[str, float]:
    from textssl.tokenizer.engines import PACKAGES

    for package in PACKAGES.values():
        sys.modules[package] = None  # type: ignore[assignment]  # as if it were not installed
    return ours(inputs, tokenizer, out)


def clean(inputs: list[str], tokenizer: str, out: str) -> dict[str, float]:
    from textssl.commands.prepare import prepare
    from textssl.data.text.documents import DropReport, read_documents

    prepare(inputs, tokenizer, out, near_duplicates=0.8, drop_repetitive=True)
    used = since_start()
    read = sum(len(document.text.encode()) for document in read_documents(inputs, report=DropReport()))
    return {**used, "bytes": read}


def peer(inputs: list[str], tokenizer: str, out: str) -> dict[str, float]:
    from textssl.data.text.documents import DropReport, read_documents
    from textssl.tokenizer import load_backend

    texts = [document.text for document in read_documents(inputs, report=DropReport())]
    sizes = list(itertools.accumulate(len(text.encode()) for text in texts))
    texts = texts[: 1 + bisect.bisect(sizes, PEER_MEGABYTES * 1e6)]
    backend = load_backend(tokenizer)
    backend.no_truncation()
    backend.no_padding()
    start, start_cpu = time.perf_counter(), cpu_seconds()
    for first in range(0, len(texts), BATCH_TEXTS):
        backend.encode_batch(texts[first : first + BATCH_TEXTS], add_special_tokens=False)
    seconds, cpu = time.perf_counter() - start, cpu_seconds() - start_cpu
    return {"seconds": seconds, "cpu": cpu, "bytes": sum(len(text.encode()) for text in texts)}


def since_start() -> dict[str, float]:
    """Seconds and CPU seconds of this process, its start-up included."""
    return {"seconds": time.time() - float(os.environ[STARTED]), "cpu": cpu_seconds()}


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended."""
    return sum(os.times()[:4])


def run(side: str, arguments: list[str]) -> dict[str, float]:
    """One side in a process of its own; adds the peak of the resident memory of it and its children, in bytes."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true", STARTED: str(time.time())}
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


SIDES = {"ours": ours, "peer": peer, "library": library, "clean": clean}
NAMES = {
    "ours": "prepare",
    "peer": "encode_batch",
    "library": "prepare without an engine",
    "clean": "prepare --near-duplicates 0.8 --drop-repetitive",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", default=["sample:news"])
    parser.add_argument("--tokenizer", help="a tokenizer folder; without it a BPE of 8,192 is trained on the input")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--megabytes", type=float, help="repeat the input up to this size")
    parser.add_argument("--library", action="store_true", help="prepare without the fast engines too")
    parser.add_argument("--clean", action="store_true", help="prepare with near-duplicates and repetition left out too")
    parser.add_argument("--wordpiece", action="store_true", help="train a lowercase WordPiece of 8,192 in its place")
    add_json(parser)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side](arguments.input, arguments.tokenizer, arguments.out)))
        return
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = arguments.tokenizer
        if tokenizer is None:
            from textssl.commands.tokenizer import train_tokenizer

            tokenizer = str(Path(folder) / "tokenizer")
            kind: dict[str, Any] = {"algorithm": "wordpiece", "lowercase": True} if arguments.wordpiece else {}
            train_tokenizer(arguments.input, tokenizer, **kind)
        inputs = arguments.input
        if arguments.megabytes:
            inputs = [repeated(inputs, arguments.megabytes, Path(folder) / "repeated.jsonl")]
        sides = ["peer", "ours", *(["library"] * arguments.library), *(["clean"] * arguments.clean)]
        compare(inputs, tokenizer, arguments, Path(folder), sides)


def repeated(inputs: list[str], megabytes: float, file: Path) -> str:
    """A file of the input's documents again and again, up to a size; every copy after the first says which it is."""
    from textssl.data.text.documents import DropReport, read_documents

    texts = [document.text for document in read_documents(inputs, report=DropReport())]
    missing = megabytes * 1e6
    with file.open("w") as stream:
        for copy in itertools.count():
            for text in texts:
                text = f"Copy {copy}. {text}" if copy else text
                stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                missing -= len(text.encode())
                if missing <= 0:
                    return str(file)
    raise AssertionError


def compare(inputs: list[str], tokenizer: str, arguments: argparse.Namespace, folder: Path, sides: list[str]) -> None:
    rounds: dict[str, list[tuple[float, float]]] = {side: [] for side in sides[1:]}  # MB a second, ours and the peer's
    cpu: dict[str, list[tuple[float, float]]] = {side: [] for side in sides[1:]}  # MB a CPU second
    peaks = dict.fromkeys(sides, 0.0)
    for repeat in range(arguments.repeats):
        shared = ["--input", *inputs, "--tokenizer", tokenizer, "--out"]
        results = {side: run(side, [*shared, str(folder / f"{side}-{repeat}")]) for side in sides}
        speeds = {side: result["bytes"] / result["seconds"] / 1e6 for side, result in results.items()}
        work = {side: result["bytes"] / result["cpu"] / 1e6 for side, result in results.items()}
        for side in sides:
            peaks[side] = max(peaks[side], results[side]["peak"])
            figures = f"{NAMES[side]} {speeds[side]:.2f} MB/s, {work[side]:.2f} MB a CPU second"
            if side != "peer":
                rounds[side].append((speeds[side], speeds["peer"]))
                cpu[side].append((work[side], work["peer"]))
                figures += f", ratio {speeds[side] / speeds['peer']:.2f}"
                figures += f", by CPU seconds {work[side] / work['peer']:.2f}"
            print(f"round {repeat + 1}: {figures}, peak {peaks[side] / 2**20:,.0f} MiB", flush=True)
        if "library" in sides:
            check_same(folder / f"ours-{repeat}", folder / f"library-{repeat}")
    kind = "lowercase WordPiece" if arguments.wordpiece else "byte-level BPE"
    kind = Path(arguments.tokenizer).name if arguments.tokenizer else kind
    found = {
        side: in_turns(f"{NAMES[side]}, {kind}", "tokenizers' encode_batch", "MB/s", rounds[side], cpu[side])
        for side in sides[1:]
    }
    for side, figure in found.items():
        print(
            f"{' '.join(inputs)}, {len(os.sched_getaffinity(0))} cores, {NAMES[side]}: median ratio "
            f"{figure.ratio:.2f}, by CPU seconds {figure.cpu_ratio:.2f} (what a busy machine still measures), peak "
            f"resident memory {peaks[side] / 2**30:.2f} GiB"
        )
    write(arguments.json, list(found.values()))


def check_same(one: Path, other: Path) -> None:
    """The arrays of two corpora must hold the same bytes."""
    for file in sorted(one.rglob("*.npy")):
        if not filecmp.cmp(file, other / file.relative_to(one), shallow=False):
            sys.exit(f"{file.relative_to(one)} differs with and without the engine")


if __name__ == "__main__":
    main()
