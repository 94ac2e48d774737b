"""Run under torchrun: whole runs that stop after some steps, and go on with other processes. Not a test itself.

torchrun --nproc_per_node N -m tests.training.elastic FOLDER SUFFIX STOP MICRO_BATCH PARTS NAME...

Each rank notes which samples its steps are given, by their number in the run's order, and a fingerprint of what the
model is shown of them, in FOLDER/run-NAME-SUFFIX.seen. STOP: the step after which a signal reaches the last rank, so
that all save and stop as on a cluster; 0: the run goes to its end.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import torch
from safetensors.torch import load_file

from tests.forked import Ranks
from tests.training.worlds import STEADY, config_of, learn
from textssl import distributed
from textssl.data.batches.loader import JoinedSteps, StepDataset
from textssl.objectives.base import Objective
from textssl.sample_types import Views
from textssl.training.checkpoint import OPTIMIZER, WEIGHTS, newest_checkpoint
from textssl.training.step import StepTotals
from textssl.training.trainer import Trainer

STEPS = 12
OPTIONS = (
    *(f"train.max_steps={STEPS}", "train.precision=float64", "train.checkpoint_every=null", "evaluation.every=5"),
    STEADY,  # and Muon, whose momentum has to go on too
)
KEPT = "kept.json"


class Leg(NamedTuple):
    """A part of a run, up to step `stop` (0: to its end). parts: of a parameter, over the processes."""

    processes: int
    parts: int
    stop: int
    micro_batch: int = 2

    def __str__(self) -> str:
        how = "" if self.parts == 1 else " sharded" if self.parts == self.processes else " hybrid"
        return f"{self.processes}{how}"


UNBROKEN = (Leg(1, 1, 0, micro_batch=8),)
FIRST = (Leg(4, 1, 3), Leg(2, 2, 6), Leg(1, 1, 9, micro_batch=3), Leg(3, 1, 0, micro_batch=8))
SECOND = (Leg(3, 3, 2), Leg(4, 2, 5), Leg(2, 1, 8, micro_batch=3), Leg(4, 4, 0))


class Result(NamedTuple):
    """A journey against the unbroken run.

    different_steps: those whose samples, or what is shown of them, differ, or that two ranks had twice. losses: the
    largest difference of those of steps and evaluations; weights: with buffers and teachers; optimizer: of its state.
    """

    different_steps: list[int]
    losses: float
    weights: float
    optimizer: float


@dataclass
class Notes:
    """What a rank saw of a run. seen: step -> "PART/SAMPLE.TEXT" -> fingerprint. kept: as kept_state gives it."""

    seen: dict[int, dict[str, str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def kept_state(objective: Objective) -> list[str]:
    """What an objective keeps from step to step beside the weights that learn: persistent buffers, and parameters that
    take no gradient, but for those of the backbone."""
    others = {id(tensor) for tensor in [*objective.backbone.parameters(), *objective.backbone.buffers()]}
    named = [*objective.named_buffers(), *(pair for pair in objective.named_parameters() if not pair[1].requires_grad)]
    persistent = objective.state_dict(keep_vars=True)
    return [name for name, tensor in named if name in persistent and id(tensor) not in others]


def fingerprint(view: Any) -> str:
    """Of a view of a sample, whatever dataclasses and sequences of arrays and numbers it is made of."""
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, np.ndarray):
            digest.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
        elif is_dataclass(value):
            add([getattr(value, entry.name) for entry in fields(value)])
        elif isinstance(value, list | tuple):
            digest.update(f"[{len(value)}".encode())
            for one in value:
                add(one)
        else:
            digest.update(repr(value).encode())

    add(view)
    return digest.hexdigest()[:16]


@contextmanager
def noted(stop: int) -> Iterator[Notes]:
    """Within the block, a run in this process notes what it sees, and the last rank gets a signal after step `stop`."""
    notes = Notes()
    made: dict[StepDataset, dict[int, str]] = {}  # number of a sample -> fingerprint
    texts: dict[StepDataset, int] = {}  # of a sample
    views, train_step = StepDataset.views, Trainer.train_step

    def make_views(self: StepDataset, samples: Iterable[int], progress: float) -> list[Any]:
        samples = list(samples)
        found = views(self, samples, progress)
        for sample, view in zip(samples, found, strict=True):
            made.setdefault(self, {})[sample] = fingerprint(view)
            texts[self] = len(view.texts) if isinstance(view, Views) else 1
        return found

    def note_step(self: Trainer, batches: list[Any], totals: StepTotals) -> None:
        own = notes.seen.setdefault(self.spent.steps, {})
        for batch in batches:
            part = getattr(batch, "name", "")
            data = self.dataset.parts[part] if isinstance(self.dataset, JoinedSteps) else self.dataset
            for place in batch.samples.tolist():
                before, text = divmod(place, texts[data])
                sample = data.sample_range(self.spent.steps).start + before
                name = f"{part}/{sample}.{text}"
                assert name not in own, f"step {self.spent.steps} has {name} twice"
                own[name] = made[data][sample]
        train_step(self, batches, totals)
        notes.kept = kept_state(self.objective)
        if self.spent.steps == stop and distributed.rank() == distributed.world_size() - 1:
            signal.raise_signal(signal.SIGTERM)

    with patch.object(StepDataset, "views", make_views), patch.object(Trainer, "train_step", note_step):
        yield notes


def go_on(folder: Path, suffix: str, leg: Leg, names: Sequence[str]) -> None:
    """A leg of the runs of these objectives, on this rank."""
    for name in names:
        options = (*OPTIONS, f"train.shard={leg.parts}")
        config = config_of(folder, name, leg.micro_batch, *options, out=f"run-{name}-{suffix}")
        with noted(leg.stop) as notes:
            steps, stopped_by = learn(config)
        assert (stopped_by is not None) == (leg.stop > 0), (name, stopped_by)
        assert steps == (leg.stop or STEPS), (name, steps)
        place = Path(f"{config.out}.seen")
        place.mkdir(exist_ok=True)
        (place / f"{min(notes.seen)}-{distributed.rank()}.json").write_text(json.dumps(notes.seen))
        if distributed.rank() == 0:
            (place / KEPT).write_text(json.dumps(notes.kept))


def travel(folder: Path, suffix: str, legs: Sequence[Leg], names: Sequence[str]) -> None:
    """Launch one leg after the other. Raises RuntimeError where one fails."""
    for leg in legs:
        arguments = [str(folder), suffix, *map(str, (leg.stop, leg.micro_batch, leg.parts)), *names]
        ranks = Ranks(["-m", "tests.training.elastic", *arguments], leg.processes)
        _, errors = ranks.communicate()
        if ranks.returncode:
            raise RuntimeError(f"{leg}: {errors[-5000:]}")


def seen_steps(folder: Path, name: str, suffix: str) -> tuple[dict[int, dict[str, str]], set[int]]:
    """What all ranks of a run saw, by step, and the steps of which two ranks had the same sample."""
    steps: dict[int, dict[str, str]] = {}
    doubled: set[int] = set()
    for file in sorted(Path(folder, f"run-{name}-{suffix}.seen").glob("*-*.json")):
        for number, own in json.loads(file.read_text()).items():
            step = steps.setdefault(int(number), {})
            if step.keys() & own.keys():
                doubled.add(int(number))
            step |= own
    return steps, doubled


def curve(folder: Path, name: str, suffix: str) -> list[tuple[int, str, float]]:
    """(step, name, value) of the losses of all steps and evaluations."""
    lines = map(json.loads, Path(folder, f"run-{name}-{suffix}", "metrics.jsonl").read_text().splitlines())
    return [(line["step"], key, line[key]) for line in lines for key in ("train/loss", "eval/loss") if key in line]


def state_of(folder: Path, name: str, suffix: str, file: str) -> dict[str, torch.Tensor]:
    """The tensors of a file of a run's last checkpoint, whole, whoever wrote their rows."""
    newest = newest_checkpoint(Path(folder, f"run-{name}-{suffix}", "checkpoints"))
    assert newest is not None and newest.name == f"step-{STEPS:08d}", newest
    pieces: dict[str, list[torch.Tensor]] = {}
    for part in sorted(newest.glob(f"{Path(file).stem}*.safetensors")):
        for key, rows in load_file(part).items():
            pieces.setdefault(key, []).append(rows)
    return {key: rows[0] if len(rows) == 1 else torch.cat(rows) for key, rows in pieces.items()}


def apart(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    """The largest difference; infinite where names or shapes differ."""
    if {key: value.shape for key, value in first.items()} != {key: value.shape for key, value in second.items()}:
        return float("inf")
    return max(float((first[key].double() - second[key].double()).abs().max()) for key in first if first[key].numel())


def compare(folder: Path, name: str, suffix: str, unbroken: str) -> Result:
    """A run that travelled against one that did not."""
    (found, doubled), (expected, _) = (seen_steps(folder, name, one) for one in (suffix, unbroken))
    wrong = doubled | {step for step in expected.keys() | found.keys() if expected.get(step) != found.get(step)}
    curves = [curve(folder, name, one) for one in (suffix, unbroken)]
    losses = float("inf")
    if [line[:2] for line in curves[0]] == [line[:2] for line in curves[1]]:
        losses = max(abs(first[2] - second[2]) for first, second in zip(*curves, strict=True))
    states = (
        apart(state_of(folder, name, suffix, file), state_of(folder, name, unbroken, file))
        for file in (WEIGHTS, OPTIMIZER)
    )
    return Result(sorted(wrong), losses, *states)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, suffix, stop, micro_batch, parts, *names = sys.argv[1:]
    go_on(Path(folder), suffix, Leg(distributed.world_size(), int(parts), int(stop), int(micro_batch)), names)
