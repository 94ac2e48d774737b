"""The held-out loss: sums over all steps, divided by the count of their term."""

import pytest
import torch
from torch import nn

from textssl.batch import Batch
from textssl.objectives.base import Encoded, Objective, Term
from textssl.training.held_out import held_out_loss


class Weighted(Batch):
    """Two items that weigh 0.1 together."""

    samples = torch.arange(2)

    def to(self, device):
        return self


class LightItems(Objective):
    """A term whose count is the sum of small weights."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def counts(self, batch):
        return {"light": 0.1}

    def forward(self, batch):
        return Encoded({"light": Term(self.scale * 0.1 * 3.0)}, {})


def test_a_sum_of_weights_below_one_divides_too():
    objective, steps = LightItems(), [[Weighted()], [Weighted()]]
    figures = held_out_loss(objective, objective, steps, torch.device("cpu"), None)  # type: ignore[arg-type]
    assert figures == {"eval/loss": pytest.approx(3.0)}
