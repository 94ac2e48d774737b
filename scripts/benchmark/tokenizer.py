"""`textssl tokenizer train`: CPU seconds, and the memory of all its processes together, by how many words it may know.

    python scripts/benchmark/tokenizer.py [--input sample:news] [--megabytes 60] [--limits 1000000 100000]

The input is repeated up to a size; in each copy after the first, one word in fifty becomes a new one, since long text
goes on to bring new words. The limits (`--max-word-types`) are tried one after another, each in a process of its own.
Prints CPU seconds for 100 MB, the peak of the resident memory, different words, and what share of all words was left
out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def write_text(inputs: list[str], megabytes: float, file: Path) -> tuple[int, int]:
    """Documents up to a size; returns bytes of text and words."""
    from textssl.data.text.documents import DropReport, read_documents

    texts = [document.text for document in read_documents(inputs, report=DropReport())]
    size = count = 0
    with file.open("w") as stream:
        for copy in itertools.count():
            rng = random.Random(copy)
            for text in texts:
                words = text.split(" ")
                if copy:
                    for place in range(rng.randrange(50), len(words), 50):
                        words[place] += "".join(rng.choices(string.ascii_lowercase, k=4))
                text = " ".join(words)
                stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                size, count = size + len(text.encode()), count + len(words)
                if size >= megabytes * 1e6:
                    return size, count
    raise AssertionError


def train(file: Path, out: Path, limit: int) -> tuple[float, int]:
    """CPU seconds and the peak of the resident memory, in bytes, of the command and its subprocess."""
    command = [sys.executable, "-m", "textssl", "tokenizer", "train", "--input", str(file), "--out", str(out)]
    command += ["--vocab-size", "32000", "--max-word-types", str(limit)]
    process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds: dict[int, float] = {}
    peak = 0
    while process.poll() is None:
        total = 0
        try:
            for one in [process, *process.children(recursive=True)]:
                total += one.memory_info().rss
                seconds[one.pid] = sum(one.cpu_times()[:2])
        except psutil.NoSuchProcess:
            pass
        peak = max(peak, total)
        time.sleep(0.05)
    if process.returncode:
        sys.exit(process.returncode)
    return sum(seconds.values()), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", default=["sample:news"])
    parser.add_argument("--megabytes", type=float, default=60)
    parser.add_argument("--limits", type=int, nargs="+", default=[1_000_000, 100_000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "text.jsonl"
        size, words = write_text(arguments.input, arguments.megabytes, file)
        print(f"{size / 1e6:.0f} MB, {words:,} words between spaces", flush=True)
        for limit in arguments.limits:
            out = Path(folder) / str(limit)
            seconds, peak = train(file, out, limit)
            types = json.loads((out / "report.json").read_text())["word_types"]
            print(
                f"at most {limit:,} words: {seconds / size * 1e8:.0f} CPU seconds for 100 MB, peak resident memory "
                f"{peak / 2**30:.2f} GiB, {types['known']:,} different words, {types['left_out'] / words:.1%} left out",
                flush=True,
            )


if __name__ == "__main__":
    main()
