"""Processes: every objective on 1 to 4 processes, replicated, sharded and hybrid, against one process (30 minutes).

For each it prints the largest difference of the gradients of the first step and of weights and buffers after three
steps (float64, at most 1e-9), of the losses of 20 float32 steps with in-loop evaluation and refresh, and of the
exported weights (at most 1e-3); the other files of the exported folders must be equal. Losses may differ by 1e-5.
Numbers that float32 has to a few per cent alone move the losses less with AdamW's eps at 1e-2 (STEADY of
tests/training/worlds.py), with which all steps are made.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from safetensors.torch import load_file  # noqa: E402

from tests.forked import Ranks  # noqa: E402
from tests.training.worlds import ALL, label, make_data  # noqa: E402

KINDS = {  # (processes, micro-batch, parts of a parameter); eight samples a step (byol: 16)
    (1, 8, 1): "one process",
    (1, 2, 1): "4 micro-batches",
    (2, 2, 1): "replicated",
    (2, 2, 2): "sharded",
    (3, 2, 3): "sharded, uneven",
    (4, 2, 1): "replicated",
    (4, 2, 4): "sharded",
    (4, 2, 2): "hybrid",
}
ONE, *OTHERS = KINDS
STEPS = 20  # of the float32 runs
MOST_GRADIENT, MOST_LOSS, MOST_WEIGHT = 1e-9, 1e-5, 1e-3


def difference(one: Path, other: Path, kinds: tuple[str, ...] = ("",)) -> float:
    """The largest difference between tensors of two files whose names begin with one of `kinds`; infinite where the
    files hold other names."""
    first, second = load_file(one), load_file(other)
    if first.keys() != second.keys():
        return float("inf")
    chosen = [name for name in first if name.startswith(kinds) and first[name].numel()]
    return max((first[name].double() - second[name].double()).abs().max().item() for name in chosen)


def losses(run: Path) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [value for line in lines for name, value in line.items() if name in ("train/loss", "eval/loss")]


def exported(run: Path) -> dict[str, bytes]:
    """The files of the exported folder but for weights and the card, which has times in it."""
    files = (path for path in sorted((run / "model").rglob("*")) if path.is_file())
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in files
        if path.suffix != ".safetensors" and path.name != "README.md"
    }


def compare(folder: Path, objective: str, kind: tuple[int, int, int]) -> bool:
    """Print a line of the table; returns whether all bounds hold."""
    first, second = (folder / f"{objective}-{label(*one)}.safetensors" for one in (ONE, kind))
    gradient, after = (difference(first, second, (name,)) for name in ("gradient/", "after-"))
    runs = [folder / f"run-{objective}-{label(*one)}" for one in (ONE, kind)]
    loss = max(abs(a - b) for a, b in zip(*map(losses, runs), strict=True))
    weights = [sorted((run / "model").rglob("*.safetensors")) for run in runs]
    weight = max(difference(one, other) for one, other in zip(*weights, strict=True))
    same = exported(runs[0]) == exported(runs[1])
    good = max(gradient, after) <= MOST_GRADIENT and loss <= MOST_LOSS and weight <= MOST_WEIGHT and same
    print(
        f"{objective:16}{kind[0]:>10}  {KINDS[kind]:16}{gradient:>10.1e}{after:>10.1e}{loss:>10.1e}{weight:>10.1e}"
        f"  {'same' if same else 'DIFFERENT':10}{'' if good else 'FAILED'}",
        flush=True,
    )
    return good


def launch(folder: Path, objective: str, kind: tuple[int, int, int]) -> bool:
    """Make what a line of the table compares; returns whether all processes came to their end."""
    processes, micro_batch, shards = kind
    arguments = [str(folder), str(micro_batch), str(shards), f"run:{STEPS}:{objective}", objective]
    ranks = Ranks(["-m", "tests.training.worlds", *arguments], processes)
    _, errors = ranks.communicate()
    if ranks.returncode:
        codes = ", ".join(str(rank.returncode) for rank in ranks.ranks)
        print(f"{objective:16}{processes:>10}  {KINDS[kind]:16} exit codes {codes} FAILED\n{errors}", flush=True)
    return ranks.returncode == 0


def main(folder: Path, objectives: list[str]) -> int:
    make_data(folder)
    names = ("objective", "processes", "kind", "gradient", "weights", "losses", "exported", "files")
    print("{:16}{:>10}  {:16}{:>10}{:>10}{:>10}{:>10}  {}".format(*names), flush=True)
    held = 0
    for objective in objectives:
        if launch(folder, objective, ONE):
            held += sum(launch(folder, objective, kind) and compare(folder, objective, kind) for kind in OTHERS)
    lines = len(objectives) * len(OTHERS)
    print(f"{held} of {lines} hold")
    return int(held < lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a new folder that keeps what was made")
    parser.add_argument("objectives", nargs="*", help=f"of {', '.join(ALL)}; none: all")
    arguments = parser.parse_args()
    if arguments.out is not None:
        arguments.out.mkdir(parents=True)
        sys.exit(main(arguments.out, arguments.objectives or list(ALL)))
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(Path(name), arguments.objectives or list(ALL)))
