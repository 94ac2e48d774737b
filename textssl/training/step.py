"""One global step: totals over ranks, gradient, update. Everything that a step changes is changed here.

A term's sum is divided by its global count, so micro-batches and ranks just add up. A loss over features of the whole
global batch is split at the features: encode, gather once, take the gradient of the loss with respect to the
features, and push it through the encoders. With gradient caching (arXiv:2101.06983) the first forward keeps no
activations, and a second one with the same random numbers follows micro-batch by micro-batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from textssl.batch import Batch, Part, Ragged, empty_like
from textssl.distributed import gather_rows, most_over_ranks, rank, sum_over_ranks, sum_tensor, world_size
from textssl.objectives.base import Encoded, Objective
from textssl.sharding import clip_gradients, exchange_gradients, finish_gradients
from textssl.system.hardware import host_waits
from textssl.training.optimizer import update

Encode = Callable[[Batch], Encoded]
BATCH_LOSS = 2**20  # the number of the batch loss among the micro-batches' random streams
_MASK63 = 2**63 - 1


@dataclass
class StepTotals:
    """Totals of a step reduced over all ranks.

    counts: items of each term in the global step. padded_tokens: tokens and padding. seconds: rank 0's training clock.
    stop: some rank received a signal. lost: rank 0's run folder is gone.
    """

    counts: dict[str, float]
    tokens: int
    padded_tokens: int
    seconds: float
    stop: bool
    lost: bool


def sum_totals(mine: StepTotals, device: torch.device) -> StepTotals:
    """The sums of what each rank has: `seconds` and `lost` must be 0 on all but rank 0."""
    names = sorted(mine.counts)
    values = [mine.counts[name] for name in names]
    values += [mine.tokens, mine.padded_tokens, mine.seconds, float(mine.stop), float(mine.lost)]
    *counts, tokens, padded_tokens, seconds, stop, lost = sum_over_ranks(values, device)
    return StepTotals(
        dict(zip(names, counts, strict=True)), int(tokens), int(padded_tokens), seconds, stop > 0, lost > 0
    )


def even_out(batches: Sequence[Batch], device: torch.device) -> list[Batch]:
    """The same number of micro-batches on every rank, where texts were dealt by length: each part of a mixture is
    filled up with empty ones. Batches are still on the CPU; device: of the message to other ranks."""
    if not any(isinstance(batch.batch if isinstance(batch, Part) else batch, Ragged) for batch in batches):
        return list(batches)  # rows are dealt evenly
    parts: dict[str, list[Batch]] = {}
    for batch in batches:
        parts.setdefault(batch.name if isinstance(batch, Part) else "", []).append(batch)
    most = most_over_ranks([len(part) for part in parts.values()], device)
    return [
        batch
        for part, count in zip(parts.values(), most, strict=True)
        for batch in [*part, *(empty_like(part[0]) for _ in range(count - len(part)))]
    ]


@dataclass
class StepResult:
    """What a step made, still on its device: reading it there would make the host wait for all of the step's work.

    names: of the losses, in the order of `losses` (global, weighted). norm: of the gradient before clipping. finite: a
    truth value; where it is false no weight, no optimizer state and no buffer was changed. features: gathered.
    """

    names: list[str]
    losses: Tensor
    norm: Tensor
    finite: Tensor
    features: dict[str, Tensor]


def train_step(
    objective: Objective,
    parameters: Sequence[nn.Parameter],
    optimizers: Sequence[Optimizer],
    batches: Sequence[Batch],
    counts: dict[str, float],
    *,
    encode: Encode,
    seed: int,
    step: int,
    cache: bool,
    max_grad_norm: float | None,
    progress: float,
    logged: bool = True,
) -> StepResult:
    """Gradient, clipping, update, commit; a step whose loss or gradient is not finite changes nothing.

    parameters: those that learn. counts: items of each term in the global step. encode: the objective's forward in the
    run's precision. cache: hold the activations of one micro-batch at a time. progress: of the run after this step, for
    `commit`. logged: whether the monitor looks at the features of this step.
    """
    gradient = StepGradient(objective, encode, counts, seed, step, cache=cache, logged=logged)
    gradient.run(batches)
    norm = clip_gradients(parameters, max_grad_norm or math.inf)
    names = sorted(gradient.totals)
    losses = sum_tensor(torch.stack([gradient.totals[name].double() for name in names]))
    finite = losses.isfinite().all() & norm.isfinite()
    for optimizer in optimizers:
        update(optimizer, finite)
    if objective.has_own("commit") and bool(finite):  # the one wait, for methods with a teacher
        objective.commit(gradient.features, progress)
    for parameter in parameters:
        parameter.grad = None
    return StepResult(names, losses, norm, finite, gradient.features)


class StepGradient:
    """The gradient of one global step on this rank.

    cache: encode twice, and hold the activations of one micro-batch at a time; else encode once and hold all. logged:
    as in `train_step`. After `run`, gradients are in `.grad`, summed over ranks by the last backward; `totals` holds
    the weighted sum of each term on this rank, over its global count; `features` what `commit` and the monitor get.
    """

    def __init__(
        self,
        objective: Objective,
        encode: Encode,
        counts: dict[str, float],
        seed: int,
        step: int,
        *,
        cache: bool = False,
        logged: bool = True,
    ):
        self.objective, self.encode, self.counts = objective, encode, counts
        self.seed, self.step, self.cache, self.logged = seed, step, cache, logged
        self.totals: dict[str, Tensor] = {}
        self.features: dict[str, Tensor] = {}

    def run(self, batches: Sequence[Batch]) -> None:
        """Forward and backward of all micro-batches; a forward or batch_loss that changes a buffer is a bug."""
        buffers = [(name, buffer, buffer._version) for name, buffer in self.objective.named_buffers()]
        if not self.objective.has_batch_loss:
            self.terms_alone(batches)
        elif self.cache and len(batches) > 1:
            self.cached(batches)
        else:
            self.live(batches)
        finish_gradients(self.objective)
        changed = [name for name, buffer, version in buffers if buffer._version != version]
        assert not changed, f"forward or batch_loss changed the buffer {changed[0]}: only commit may"

    def seeded_encode(self, batch: Batch, number: int) -> Encoded:
        seed_torch(self.seed, self.step, rank(), number)
        encoded = self.encode(batch)
        for name, feature in encoded.features.items():
            assert len(feature) == len(batch), f"feature {name} has {len(feature)} rows for {len(batch)} samples"
        return encoded

    def add_terms(self, encoded: Encoded) -> Tensor:
        """The loss of a micro-batch's terms, which is added to `totals`."""
        loss = torch.zeros((), device=next(self.objective.parameters()).device)
        for name, term in encoded.terms.items():
            assert name in self.counts, f"forward gives the term {name}, but counts gives only {sorted(self.counts)}"
            part = term.weight * term.total / (self.counts[name] or 1.0)
            self.totals[name] = self.totals.get(name, 0.0) + part.detach()
            loss = loss + part
        return loss

    def batch_loss(self, features: dict[str, Tensor]) -> Tensor:
        """The loss of the whole global batch, the same on every rank."""
        assert features, f"{type(self.objective).__name__} has a batch_loss, but forward gives no features"
        seed_torch(self.seed, self.step, 0, BATCH_LOSS)
        losses = self.objective.batch_loss(features)
        assert losses, f"batch_loss of {type(self.objective).__name__} gives no loss"
        for name, loss in losses.items():  # every rank has all of it; rank 0 reports it
            self.totals[name] = loss.detach() if rank() == 0 else torch.zeros_like(loss)
        return torch.stack(list(losses.values())).sum()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """last: it is the step's last backward, after which gradients are those of all ranks."""
        exchange_gradients(self.objective, now=last)
        loss.backward()

    def terms_alone(self, batches: Sequence[Batch]) -> None:
        """No loss over the batch: each micro-batch by itself. Gathering features makes a GPU wait: only where read."""
        features = []
        for number, batch in enumerate(batches):
            encoded = self.seeded_encode(batch, number)
            self.backward(self.add_terms(encoded), last=number == len(batches) - 1)
            features.append({name: feature.detach() for name, feature in encoded.features.items()})
        if self.objective.has_own("commit") or (self.logged and self.objective.has_own("watched")):
            self.features = gather(features, batches).features

    def live(self, batches: Sequence[Batch]) -> None:
        """One forward of everything, whose activations stay until the one backward."""
        encoded = [self.seeded_encode(batch, number) for number, batch in enumerate(batches)]
        if len(batches) == 1 and is_whole(batches[0]) and self.objective.has_features(batches[0]):
            (found,) = encoded
            self.features = {name: feature.detach() for name, feature in found.features.items()}
            self.backward(self.add_terms(found) + self.batch_loss(found.features), last=True)
            return
        pairs = list(zip(encoded, batches, strict=True))
        having = [found.features if self.objective.has_features(batch) else {} for found, batch in pairs]
        slopes = self.feature_gradients(having, batches)
        losses = [self.add_terms(found) + slopes(found, batch) for found, batch in pairs]
        self.backward(torch.stack(losses).sum(), last=True)

    def cached(self, batches: Sequence[Batch]) -> None:
        """A forward without gradient, then one micro-batch after another again."""
        with torch.no_grad():
            encoded = [
                self.seeded_encode(batch, number).features if self.objective.has_features(batch) else {}
                for number, batch in enumerate(batches)
            ]
        slopes = self.feature_gradients(encoded, batches)
        for number, batch in enumerate(batches):
            again = self.seeded_encode(batch, number)
            self.backward(self.add_terms(again) + slopes(again, batch), last=number == len(batches) - 1)

    def feature_gradients(
        self, encoded: Sequence[dict[str, Tensor]], batches: Sequence[Batch]
    ) -> Callable[[Encoded, Batch], Tensor]:
        """d batch_loss / d features, the same on every rank, as a linear loss on the features of a micro-batch.

        Every rank differentiates the loss over its number, so that the sum over ranks gives parameters inside the loss
        their gradient once.
        """
        gathered = gather(encoded, batches)
        self.features = gathered.features
        leaves = {
            name: feature.clone().requires_grad_() if feature.is_floating_point() else feature
            for name, feature in self.features.items()
        }
        loss = self.batch_loss(leaves)
        self.backward(loss / world_size(), last=False)
        slopes = {name: leaf.grad * world_size() for name, leaf in leaves.items() if leaf.grad is not None}

        def push(again: Encoded, batch: Batch) -> Tensor:
            total = torch.zeros((), device=loss.device)
            for name, feature in again.features.items():
                if name in slopes and feature.requires_grad:
                    at = torch.searchsorted(gathered.samples[name], batch.samples)
                    total = total + (feature * slopes[name][at]).sum()
            return total

        return push


def is_whole(batch: Batch) -> bool:
    """Whether the only micro-batch of this rank is the global batch, in order, so that there is nothing to gather or to
    sort. Not asked on a GPU, where the host would have to wait for the answer."""
    samples = batch.samples
    return world_size() == 1 and not host_waits(samples) and bool((samples[1:] >= samples[:-1]).all())


class Gathered(NamedTuple):
    """Features of the whole global batch, ordered by sample, and for each feature the samples of its rows."""

    features: dict[str, Tensor]
    samples: dict[str, Tensor]


def gather(encoded: Sequence[dict[str, Tensor]], batches: Sequence[Batch]) -> Gathered:
    """The features of all micro-batches of all ranks, detached; a part of a mixture has features of its own."""
    features, samples = {}, {}
    orders: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}  # micro-batches that share features -> order, samples
    for name in sorted({name for found in encoded for name in found}):
        having = tuple(number for number, found in enumerate(encoded) if name in found)
        if having not in orders:
            gathered = gather_rows(torch.cat([batches[number].samples for number in having]))
            order = torch.argsort(gathered)
            orders[having] = order, gathered[order]
        order, samples[name] = orders[having]
        features[name] = gather_rows(torch.cat([encoded[number][name].detach() for number in having]))[order]
    return Gathered(features, samples)


def seed_torch(seed: int, step: int, process: int, micro_batch: int) -> None:
    """Seed torch's generators as a pure function of the arguments, so that dropout needs no saved state."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step) * 0xBF58476D1CE4E5B9
    mixed = (mixed + process * 0x94D049BB133111EB + micro_batch + 1) * 0xD6E8FEB86659FD93
    mixed = (mixed ^ (mixed >> 32)) & _MASK63
    torch.default_generator.manual_seed(mixed)  # torch.manual_seed formats the call stack for each device it lacks
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(mixed)
