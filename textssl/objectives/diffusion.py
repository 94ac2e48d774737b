"""Masked diffusion language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from textssl.batch import NumberedRows
from textssl.models.configuration import Pretext
from textssl.objectives.base import Encoded, Facts, Term, predicted, stack_rows
from textssl.objectives.mlm import MaskedLM
from textssl.sample_types import IGNORE, Row
from textssl.views.masking import hide_first

GOLDEN = (5**0.5 - 1) / 2  # its multiples modulo 1 spread evenly, however many there are


@dataclass
class Noise:
    """A row before its rate is known. order: (length,) float64, lowest hidden first. jitter: of the rate, in [0, 1)."""

    row: Row
    order: np.ndarray
    jitter: float


def strata(size: int) -> np.ndarray:
    """(size,) the numbers below size in an order of which every stretch is spread evenly over the whole range."""
    return np.argsort(np.argsort(np.arange(size) * GOLDEN % 1))


class Diffusion(MaskedLM):
    """Predict the hidden tokens at every masking rate; the loss is an upper bound on the code length of the text.

    Masked diffusion (arXiv:2406.07524, eq. 10) in the form of arXiv:2502.09992 (eq. 14): of a row of L tokens n are
    hidden, n is uniform on 1 to L, and the cross entropy of the hidden ones is weighted by L / n, one over the rate.
    The rates of a step are spread evenly over (0, 1], one in each of as many equal parts as there are rows.
    """

    codes_text = True
    whole_steps = True  # a step's first few rows do not have the mean rate of all
    pretext = Pretext("diffusion")

    def __init__(self) -> None:
        super().__init__(random_rate=0.0, keep_rate=0.0)

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.strata = strata(facts.batch_size)  # (rows of a step,) which part of (0, 1] the rate of each is in

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> Noise:
        return Noise(sample, rng.random(len(sample.ids)), rng.random())

    def collate(self, views: Sequence[Noise], samples: Sequence[int]) -> Any:
        rows, mask = [], self.vocabulary.mask
        assert mask is not None
        for noise, place in zip(views, samples, strict=True):
            rate = (self.strata[place] + noise.jitter) / len(self.strata)
            row = noise.row
            chosen, weight = hide_first(~row.special, noise.order, rate)
            shown, labels = np.where(chosen, mask, row.ids), np.where(chosen, row.ids, IGNORE)
            rows.append(replace(row, ids=shown, labels=labels, numbers=np.float32(weight) * chosen))
        return stack_rows(rows, samples)

    def counts(self, batch: NumberedRows) -> dict[str, int]:
        return {"diffusion": round(float(batch.numbers.double().sum()))}  # n hidden tokens of weight L / n: all L

    def forward(self, batch: NumberedRows) -> Encoded:
        hidden = self.backbone(batch)  # (rows, length, width)
        weights = batch.numbers.flatten().index_select(0, batch.facts.predicted)
        total = self.backbone.cross_entropy(*predicted(hidden, batch), weights)
        return Encoded({"diffusion": Term(total)}, self.row_features(hidden, batch))
