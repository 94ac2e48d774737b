"""Output layer and cross entropy, forward and backward: textssl's against torch's, in time and memory.

    python scripts/benchmark/heads.py --tokens 4096 --vocabulary 8192

The ways take turns in one process, so that a busy machine is busy for all of them; the least and the median time of
the repeats are printed. Peak memory is that of a process of its own which makes two steps, above what it held before
them. "products" makes the three matrix products alone: what no way can beat.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from textssl.losses.cross_entropy import linear_cross_entropy

Way = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def plain(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight, bias), labels, reduction="sum")


def torch_chunked(options: nn.LinearCrossEntropyOptions) -> Way:
    def way(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        return F.linear_cross_entropy(hidden, weight, labels, linear_bias=bias, reduction="sum", options=options)

    return way


def products(hidden: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        for part in hidden.split(512):
            logits = torch.addmm(bias, part, weight.t())
            torch.mm(logits, weight)
            torch.mm(logits.t(), part)
    return hidden.sum()


WAYS: dict[str, Way] = {
    "plain": plain,
    "torch options()": torch_chunked(nn.LinearCrossEntropyOptions()),
    "torch chunk 512": torch_chunked(nn.LinearCrossEntropyOptions(batch_chunk_size=512)),
    "textssl": linear_cross_entropy,
    "products": products,
}


def make_inputs(tokens: int, width: int, vocabulary: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, width, generator=generator).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).mul_(0.05).requires_grad_()
    bias = torch.zeros(vocabulary, requires_grad=True)
    return hidden, weight, bias, torch.randint(0, vocabulary, (tokens,), generator=generator)


def step(way: Way, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> float:
    """Seconds of one forward and backward."""
    for tensor in inputs[:3]:
        tensor.grad = None
    start = time.perf_counter()
    way(*inputs).backward()
    return time.perf_counter() - start


def resident_megabytes(key: str) -> float:
    """VmRSS, resident now, or VmHWM, the most so far. (Linux; ru_maxrss would count the parent process in.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def peak_megabytes(name: str, arguments: argparse.Namespace) -> float:
    shape = [f"--{key}={getattr(arguments, key)}" for key in ("tokens", "width", "vocabulary", "threads")]
    command = [sys.executable, __file__, *shape, "--memory", name]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1200)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--memory", choices=WAYS, help="print the peak megabytes of one way")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    inputs = make_inputs(arguments.tokens, arguments.width, arguments.vocabulary)
    if arguments.memory:
        step(plain, make_inputs(8, 8, 8))
        before = resident_megabytes("VmRSS")
        for _ in range(2):
            step(WAYS[arguments.memory], inputs)
        print(resident_megabytes("VmHWM") - before)
        return
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for repeat in range(arguments.repeats + 1):
        for name, way in WAYS.items():
            taken = step(way, inputs)
            if repeat:  # the first round warms up
                seconds[name].append(taken)
    title = f"{arguments.tokens} tokens, width {arguments.width}, vocabulary {arguments.vocabulary}"
    table = Table("way", "least ms", "median ms", "peak MB", title=f"{title}, {arguments.threads} threads")
    for name, taken in seconds.items():
        peak = "" if name == "products" else f"{peak_megabytes(name, arguments):.0f}"
        table.add_row(name, f"{min(taken) * 1e3:.1f}", f"{statistics.median(taken) * 1e3:.1f}", peak)
    Console().print(table)


if __name__ == "__main__":
    main()
