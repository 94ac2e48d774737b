"""`dataset[step] -> micro-batches of this rank`: the plan, the objective's view and the dealing to ranks."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from textssl.batch import Batch, Part, empty_like
from textssl.data.batches.batching import Dealing, deal, own_share
from textssl.data.plan.plan import Order, Plan
from textssl.sample_types import ManyDocuments

MakeView = Callable[[Any, np.random.Generator, float], Any]
MakeManyViews = Callable[[ManyDocuments], list[Any]]
Collate = Callable[[Sequence[Any], Sequence[int]], Batch]


class StepDataset(Dataset):
    """The micro-batches of this rank for any step; a pure function of the step, so a resume has nothing to skip.

    A rank reads only its own samples and makes only their views, so that its work does not grow with the number of
    ranks. Where texts are dealt by length, ranks may have different numbers of micro-batches (training.step.even_out).

    plan: the order of all samples. batch_size: samples of a global step. num_samples: where the data end (held-out
    data are read once); None: they never do. progress: step -> how far the run is, in [0, 1]. dealing: how views of
    different lengths are framed and dealt; None deals samples as they come. at_once: makes the views of many documents
    together, the same as make_view one by one; None: there is no such way.
    """

    def __init__(
        self,
        plan: Order,
        make_view: MakeView,
        collate: Collate,
        *,
        batch_size: int,
        micro_batch_size: int | None = None,
        world_size: int = 1,
        rank: int = 0,
        num_samples: int | None = None,
        progress: Callable[[int], float] = lambda step: 0.0,
        dealing: Dealing | None = None,
        at_once: MakeManyViews | None = None,
    ):
        self.dealing, self.at_once = dealing, at_once
        self.plan, self.make_view, self.collate, self.progress = plan, make_view, collate, progress
        self.batch_size, self.micro_batch_size, self.num_samples = batch_size, micro_batch_size, num_samples
        self.world_size, self.rank = world_size, rank

    def __len__(self) -> int:
        """Number of steps; only for data that end."""
        assert self.num_samples is not None
        return -(-self.num_samples // self.batch_size)

    def sample_range(self, step: int) -> range:
        """Indices of a step's samples in the run's order."""
        end = (step + 1) * self.batch_size
        return range(step * self.batch_size, end if self.num_samples is None else min(end, self.num_samples))

    def __getitem__(self, step: int) -> list[Batch]:
        samples, progress = self.sample_range(step), self.progress(step)
        if self.dealing is not None:
            own = own_share(len(samples), self.world_size, self.rank)
            return list(self.dealing.deal(self.views(samples[own.start : own.stop], progress), own.start))
        return [
            self.batch(samples, places, progress)
            for places in deal(len(samples), self.world_size, self.rank, self.micro_batch_size)
        ]

    def batch(self, samples: range, places: range, progress: float) -> Batch:
        if not places:  # an empty share has the shapes of a full one
            return empty_like(self.batch(samples, range(1), progress))
        return self.collate(self.views([samples[place] for place in places], progress), list(places))

    def views(self, samples: Sequence[int], progress: float) -> list[Any]:
        if self.at_once is not None:
            assert isinstance(self.plan, Plan)
            return self.at_once(self.plan.many(samples))
        return [self.make_view(self.plan.sample(sample), self.plan.rng(sample), progress) for sample in samples]


class JoinedSteps(Dataset):
    """The steps of several data sets side by side, each micro-batch under the name of its part."""

    def __init__(self, parts: dict[str, StepDataset]):
        self.parts = parts
        self.first = next(iter(parts.values()))

    def __len__(self) -> int:
        """Number of steps of the longest part; only for data that end."""
        return max(len(part) for part in self.parts.values())

    def sample_range(self, step: int) -> range:
        return self.first.sample_range(step)

    def __getitem__(self, step: int) -> list[Batch]:
        """The micro-batches of all parts at a step; a part whose data have ended gives none."""
        going_on = {n: part for n, part in self.parts.items() if part.num_samples is None or step < len(part)}
        return [Part(name, batch) for name, part in going_on.items() for batch in part[step]]


Steps = StepDataset | JoinedSteps


def load_steps(dataset: Steps, steps: Iterable[int], workers: int, pin: bool = False) -> Iterator[list[Batch]]:
    """The micro-batches of each step in order, made ahead by worker processes (0: made here, on demand)."""
    if workers == 0:
        for step in steps:
            yield dataset[step]
        return
    context = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        multiprocessing_context=context,
        pin_memory=pin,
        worker_init_fn=_begin_worker,
    )
    yield from loader


def _begin_worker(worker: int) -> None:
    torch.set_num_threads(1)
    # A signal that reaches the whole process group is for the main process to handle:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
