"""The gradient of a global step from its micro-batches, for terms and for losses over the whole global batch.

A term's sum is divided by its global count, so micro-batches and ranks just add up. A loss over features of the whole
global batch is split at the features: encode, gather once, take the gradient of the loss by the features, and push it
through the encoders. With gradient caching (arXiv:2101.06983) the first forward keeps nothing, and a second one with
the same random numbers follows micro-batch by micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from textssl.batch import Batch
from textssl.distributed import gather_rows, rank
from textssl.objectives.base import Encoded, Objective

Encode = Callable[[Batch], Encoded]
BATCH_LOSS = 2**20  # the place of the batch loss among the micro-batches' random streams
_MASK63 = 2**63 - 1


def seed_torch(seed: int, step: int, process: int, micro_batch: int) -> None:
    """Torch's generators as a pure function of where we are, so that dropout needs no saved state."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step) * 0xBF58476D1CE4E5B9
    mixed = (mixed + process * 0x94D049BB133111EB + micro_batch + 1) * 0xD6E8FEB86659FD93
    torch.manual_seed((mixed ^ (mixed >> 32)) & _MASK63)


class Gathered(NamedTuple):
    """Features of the whole global batch, ordered by place in the step, and the places of each feature's rows."""

    features: dict[str, Tensor]
    places: dict[str, Tensor]


def gather(encoded: Sequence[dict[str, Tensor]], batches: Sequence[Batch]) -> Gathered:
    """The features of all micro-batches of all ranks, detached; a part of a mixture has features of its own."""
    features, places = {}, {}
    orders: dict[
        tuple[int, ...], tuple[Tensor, Tensor]
    ] = {}  # micro-batches that share their features -> order, places
    for name in sorted({name for found in encoded for name in found}):
        having = tuple(at for at, found in enumerate(encoded) if name in found)
        if having not in orders:
            samples = gather_rows(torch.cat([batches[at].samples for at in having]))
            order = torch.argsort(samples)
            orders[having] = order, samples[order]
        order, places[name] = orders[having]
        features[name] = gather_rows(torch.cat([encoded[at][name].detach() for at in having]))[order]
    return Gathered(features, places)


class StepGradient:
    """One global step on this rank.

    cache: encode twice, and hold the activations of one micro-batch at a time; else encode once and hold all. After
    `run`, gradients (of this rank's share; the caller sums them over ranks) are in `.grad`; `totals` holds the
    weighted sum of each term on this rank, over its global count; `features` what `commit` gets.
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
    ):
        self.objective, self.encode, self.counts = objective, encode, counts
        self.seed, self.step, self.cache = seed, step, cache
        self.totals: dict[str, Tensor] = {}
        self.features: dict[str, Tensor] = {}

    def run(self, batches: Sequence[Batch], backward: Callable[[Tensor], None]) -> None:
        if not self.objective.gathers:
            for place, batch in enumerate(batches):
                backward(self.add_terms(self.seeded_encode(batch, place)))
        elif self.cache and len(batches) > 1:
            self.cached(batches, backward)
        else:
            self.live(batches, backward)

    def seeded_encode(self, batch: Batch, place: int) -> Encoded:
        seed_torch(self.seed, self.step, rank(), place)
        return self.encode(batch)

    def add_terms(self, encoded: Encoded) -> Tensor:
        """The loss of a micro-batch's terms, remembered in `totals`."""
        loss = torch.zeros((), device=next(self.objective.parameters()).device)
        for name, term in encoded.terms.items():
            part = term.weight * term.total / (self.counts[name] or 1.0)
            self.totals[name] = self.totals.get(name, 0.0) + part.detach()
            loss = loss + part
        return loss

    def batch_loss(self, features: dict[str, Tensor]) -> Tensor:
        """The loss of the whole global batch, the same on every rank."""
        seed_torch(self.seed, self.step, 0, BATCH_LOSS)
        losses = self.objective.batch_loss(features)
        for name, loss in losses.items():  # every rank has all of it; rank 0 reports it
            self.totals[name] = loss.detach() if rank() == 0 else torch.zeros_like(loss)
        return torch.stack(list(losses.values())).sum()

    def live(self, batches: Sequence[Batch], backward: Callable[[Tensor], None]) -> None:
        """One forward of everything, whose activations stay until the one backward."""
        encoded = [self.seeded_encode(batch, place) for place, batch in enumerate(batches)]
        slopes = self.feature_gradients([found.features for found in encoded], batches, backward)
        parts = [self.add_terms(found) + slopes(found, batch) for found, batch in zip(encoded, batches, strict=True)]
        backward(torch.stack(parts).sum())

    def cached(self, batches: Sequence[Batch], backward: Callable[[Tensor], None]) -> None:
        """A forward without gradient, then one micro-batch after another again."""
        with torch.no_grad():
            encoded = [
                self.seeded_encode(batch, place).features if self.objective.has_features(batch) else {}
                for place, batch in enumerate(batches)
            ]
        slopes = self.feature_gradients(encoded, batches, backward)
        for place, batch in enumerate(batches):
            again = self.seeded_encode(batch, place)
            backward(self.add_terms(again) + slopes(again, batch))

    def feature_gradients(
        self, encoded: Sequence[dict[str, Tensor]], batches: Sequence[Batch], backward: Callable[[Tensor], None]
    ) -> Callable[[Encoded, Batch], Tensor]:
        """d batch_loss / d features, the same on every rank, as a linear loss on the features of a micro-batch.

        Parameters inside batch_loss learn on rank 0 alone.
        """
        gathered = gather(encoded, batches)
        self.features = gathered.features
        leaves = {
            name: feature.clone().requires_grad_() if feature.is_floating_point() else feature
            for name, feature in self.features.items()
        }
        loss = self.batch_loss(leaves)
        moving = [name for name, leaf in leaves.items() if leaf.requires_grad]
        if rank() == 0:
            backward(loss)
            found = {name: leaves[name].grad for name in moving}
        else:
            gradients = torch.autograd.grad(loss, [leaves[name] for name in moving], allow_unused=True)
            found = dict(zip(moving, gradients, strict=True))
        slopes = {name: slope for name, slope in found.items() if slope is not None}

        def push(again: Encoded, batch: Batch) -> Tensor:
            total = torch.zeros((), device=loss.device)
            for name, feature in again.features.items():
                if name in slopes and feature.requires_grad:
                    at = torch.searchsorted(gathered.places[name], batch.samples)
                    total = total + (feature * slopes[name][at]).sum()
            return total

        return push
