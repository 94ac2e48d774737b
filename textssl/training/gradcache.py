"""The gradient of a global step from its micro-batches, for terms and for losses over the whole global batch.

A term's sum is divided by its global count, so micro-batches and ranks just add up. A loss over features of the whole
global batch uses gradient caching (arXiv:2101.06983): encode without gradient, gather once, take the gradient of the
loss by the features, then encode again with the same random numbers and push that gradient through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from textssl.batch import Batch
from textssl.distributed import gather_rows, rank, world_size
from textssl.objectives.base import Encoded, Objective

Encode = Callable[[Batch], Encoded]
BATCH_LOSS = 2**20  # the place of the batch loss among the micro-batches' random streams
_MASK63 = 2**63 - 1


def seed_torch(seed: int, step: int, process: int, micro_batch: int) -> None:
    """Torch's generators as a pure function of where we are, so that dropout needs no saved state."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step) * 0xBF58476D1CE4E5B9
    mixed = (mixed + process * 0x94D049BB133111EB + micro_batch + 1) * 0xD6E8FEB86659FD93
    torch.manual_seed((mixed ^ (mixed >> 32)) & _MASK63)


class StepGradient:
    """One global step on this rank.

    After `run`, gradients (of this rank's share; the caller sums them over ranks) are in `.grad`; `totals` holds the
    weighted sum of each term on this rank, over its global count; `features` what `commit` gets.
    """

    def __init__(self, objective: Objective, encode: Encode, counts: dict[str, float], seed: int, step: int):
        self.objective, self.encode, self.counts = objective, encode, counts
        self.seed, self.step = seed, step
        self.totals: dict[str, Tensor] = {}
        self.features: dict[str, Tensor] = {}

    def run(self, batches: Sequence[Batch], backward: Callable[[Tensor], None]) -> None:
        if not self.objective.gathers:
            for place, batch in enumerate(batches):
                loss = self.add_terms(self.seeded_encode(batch, place))
                backward(loss)
        elif len(batches) == 1 and world_size() == 1:
            self.direct(batches[0], backward)
        else:
            self.cached(batches, backward)

    def seeded_encode(self, batch: Batch, place: int) -> Encoded:
        seed_torch(self.seed, self.step, rank(), place)
        return self.encode(batch)

    def add_terms(self, encoded: Encoded) -> Tensor:
        """The loss of a micro-batch's terms, remembered in `totals`."""
        loss = torch.zeros((), device=next(self.objective.parameters()).device)
        for name, term in encoded.terms.items():
            part = term.weight * term.total / max(self.counts[name], 1)
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

    def direct(self, batch: Batch, backward: Callable[[Tensor], None]) -> None:
        encoded = self.seeded_encode(batch, 0)
        order = torch.argsort(batch.samples)
        ordered = {name: feature[order] for name, feature in encoded.features.items()}
        self.features = {name: feature.detach() for name, feature in ordered.items()}
        backward(self.add_terms(encoded) + self.batch_loss(ordered))

    def cached(self, batches: Sequence[Batch], backward: Callable[[Tensor], None]) -> None:
        with torch.no_grad():
            encoded = [self.seeded_encode(batch, place).features for place, batch in enumerate(batches)]
        local = {name: torch.cat([features[name] for features in encoded]) for name in encoded[0]}
        samples = torch.cat([batch.samples for batch in batches])
        order = torch.argsort(gather_rows(samples))
        self.features = {name: gather_rows(feature)[order] for name, feature in local.items()}
        slopes = self.feature_gradients(backward)
        for place, batch in enumerate(batches):
            again = self.seeded_encode(batch, place)
            loss = self.add_terms(again)
            for name, slope in slopes.items():  # samples count from 0 in the step, in the gathered order
                loss = loss + (again.features[name] * slope[batch.samples]).sum()
            backward(loss)

    def feature_gradients(self, backward: Callable[[Tensor], None]) -> dict[str, Tensor]:
        """d batch_loss / d features, the same on every rank; parameters inside batch_loss learn on rank 0 alone."""
        leaves = {name: feature.detach().requires_grad_() for name, feature in self.features.items()}
        loss = self.batch_loss(leaves)
        if rank() == 0:
            backward(loss)
            return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}
        slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        return {name: slope for name, slope in zip(leaves, slopes, strict=True) if slope is not None}
