"""Heads on the vectors of several segments: in which order they stand, how far apart two of them are."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn


def two_layers(width: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))


class OrderHead(nn.Module):
    """Logits of the permutations of segments, from their vectors and the product of every two."""

    def __init__(self, segments: int, width: int, hidden: int):
        super().__init__()
        self.pairs = list(itertools.combinations(range(segments), 2))
        self.layers = two_layers(width * (segments + len(self.pairs)), hidden, math.factorial(segments))

    def forward(self, vectors: Tensor) -> Tensor:
        """(samples, permutations). vectors: (samples, segments, width)."""
        products = [vectors[:, one] * vectors[:, other] for one, other in self.pairs]
        return self.layers(torch.cat([vectors.flatten(1), *products], dim=1))


class DistanceHead(nn.Module):
    """Logits of distances, from the difference and the product of two vectors: the same whichever comes first."""

    def __init__(self, classes: int, width: int, hidden: int):
        super().__init__()
        self.layers = two_layers(2 * width, hidden, classes)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(samples, classes). first, second: (samples, width)."""
        return self.layers(torch.cat([(first - second).abs(), first * second], dim=1))
