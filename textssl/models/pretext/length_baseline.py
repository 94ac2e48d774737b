"""A baseline that sees only how long texts are, to expose a pretext task that lengths alone can solve."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LengthBaseline(nn.Module):
    """Least squares from the lengths of several texts to classes, on everything seen so far; it takes no gradient.

    It sees a constant, the logarithm of each length, and for each two texts which is longer. num_texts: of a sample.
    num_classes: of each question. The sums are buffers, changed by `add` alone.
    """

    gram: Tensor
    cross: Tensor

    def __init__(self, num_texts: int, num_classes: Sequence[int]):
        super().__init__()
        self.num_classes = tuple(num_classes)
        self.pairs = list(itertools.combinations(range(num_texts), 2))
        seen = 1 + num_texts + len(self.pairs)
        self.register_buffer("gram", torch.zeros(seen, seen))
        self.register_buffer("cross", torch.zeros(seen, sum(self.num_classes)))

    def inputs(self, lengths: Tensor) -> Tensor:
        """(samples, what is seen). lengths: (samples, texts) tokens."""
        logs = lengths.double().log()
        longer = [(logs[:, one] - logs[:, other]).sign() for one, other in self.pairs]
        return torch.cat([torch.ones_like(logs[:, :1]), logs, torch.stack(longer, dim=1)], dim=1)

    @torch.no_grad()
    def add(self, lengths: Tensor, targets: Sequence[Tensor]) -> None:
        """Learn from samples. targets: (samples,) class of each question, or a negative number where there is none."""
        known = (targets[0] >= 0).double()[:, None]
        classes = [torch.arange(count, device=lengths.device) for count in self.num_classes]
        wanted = torch.cat([one[:, None] == numbers for one, numbers in zip(targets, classes, strict=True)], dim=1)
        inputs = self.inputs(lengths) * known
        self.gram.add_(inputs.T @ inputs)
        self.cross.add_(inputs.T @ wanted.double())

    @torch.no_grad()
    def forward(self, lengths: Tensor) -> tuple[Tensor, ...]:
        """(samples, classes) scores of each question."""
        gram, cross = self.gram.double(), self.cross.double()
        ridge = 1e-6 * (1 + gram.trace()) * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        weights = torch.linalg.solve(gram + ridge, cross)
        return (self.inputs(lengths) @ weights).split(self.num_classes, dim=1)
