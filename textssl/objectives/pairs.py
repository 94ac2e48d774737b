"""Pairs of texts that belong together, are labelled, or have a score."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.losses.contrast import info_nce
from textssl.objectives.base import Encoded, Facts, Watched
from textssl.objectives.simcse import SimCSE
from textssl.objectives.two_views import (
    Temperature,
    TwoViews,
    Widths,
    check_widths,
    cosines,
    equal_contents,
    over_widths,
)
from textssl.sample_types import Adjacent, Pair, Views
from textssl.views.kinds import PairsView

Loss = Literal["auto", "contrast", "classification", "regression"]


class Pairs(TwoViews):
    """The two texts of a pair attract; all other second texts repel, and so do given hard negatives.

    Pairs come from data.pairs; without it they are neighbouring sentences of the corpus. loss: contrast is InfoNCE
    (arXiv:1705.00652, section 4.4); classification a softmax over (u, v, |u - v|) for pairs with labels, regression the
    squared error of the cosine for pairs with scores (arXiv:1908.10084, section 3); auto: whichever the file's columns
    allow, a label before a score. symmetric: the second text also looks for the first. score_range: the lowest and
    highest score, which become cosines 0 and 1. matryoshka: as in simcse.
    """

    against_collapse = SimCSE.against_collapse

    def __init__(
        self,
        loss: Loss = "auto",
        temperature: Temperature = 0.05,
        symmetric: bool = False,
        score_range: tuple[float, float] = (0.0, 1.0),
        matryoshka: Widths = [],  # noqa: B006 (read as a schema, never changed)
    ):
        super().__init__(PairsView())
        if not (score_range[0] < score_range[1] and all(map(math.isfinite, score_range))):
            raise UserError(f"objective.score_range is {list(score_range)}: the lowest score comes first")
        self.loss: Loss = loss
        self.temperature, self.symmetric = temperature, symmetric
        self.score_range, self.matryoshka = tuple(score_range), list(matryoshka)

    @property
    def target(self) -> Literal["auto", "label", "score", "none"]:
        """The column of a pair file that it uses."""
        columns: dict[str, Literal["auto", "label", "score", "none"]]
        columns = {"auto": "auto", "classification": "label", "regression": "score", "contrast": "none"}
        return columns[self.loss]

    @property
    def least_samples(self) -> int:  # type: ignore[override]
        return 2 if self.chosen_loss == "contrast" else 1

    @property
    def chosen_loss(self) -> Loss:
        """The loss, where auto is resolved by the columns of the given pairs."""
        if self.loss != "auto":
            return self.loss
        return "classification" if self.pair_facts.classes else "regression" if self.pair_facts.scored else "contrast"

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        if self.chosen_loss == "classification":
            if not self.pair_facts.classes:
                raise UserError("objective.loss is classification, which needs data.pairs with the column label")
            self.classifier = nn.Linear(3 * self.width, len(self.pair_facts.classes))
        elif self.chosen_loss == "regression" and not self.pair_facts.scored:
            raise UserError("objective.loss is regression, which needs data.pairs with the column score")
        check_widths(self.matryoshka, self.width)

    def output_layers(self) -> list[nn.Linear]:
        return [self.classifier] if self.chosen_loss == "classification" else []

    def make_view(self, sample: Adjacent | Pair, rng: np.random.Generator, progress: float) -> Views:
        """The pair and its hard negatives, filled up with None to the most that any pair of the file has."""
        views = super().make_view(sample, rng, progress)
        if not self.pair_facts.num_negatives:
            return views
        negatives = [] if isinstance(sample, Adjacent) else sample.negatives
        empty = [None] * (self.pair_facts.num_negatives - len(negatives))
        return replace(views, texts=[*views.texts, *negatives, *empty])

    def forward(self, batch: Texts) -> Encoded:
        encoded = super().forward(batch)
        view = batch.samples % (2 + self.pair_facts.num_negatives)
        return Encoded({}, encoded.features | {"view": view, "target": batch.targets})

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        view, targets = features["view"], features["target"]
        left, right = features["text"][view == 0], features["text"][view == 1]
        targets = targets[view == 0]
        if self.chosen_loss == "classification":
            return {"pairs": self.classify(left, right, targets.long())}
        if self.chosen_loss == "regression":
            low, high = self.score_range
            wanted = ((targets - low) / (high - low)).to(left.dtype)
            return {
                "pairs": over_widths(
                    self.matryoshka, lambda short: F.mse_loss(cosines(short(left), short(right)), wanted)
                )
            }
        return {"pairs": over_widths(self.matryoshka, lambda short: self.contrast(features, short))}

    def classify(self, left: Tensor, right: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy over (u, v, |u - v|). left, right: (samples, width). labels: (samples,) int64."""

        def loss(short) -> Tensor:
            u, v = short(left), short(right)
            blocks = self.classifier.weight.view(-1, 3, left.shape[1])[:, :, : u.shape[1]]
            weight = blocks.reshape(len(blocks), -1)  # (classes, 3 * width of u)
            return F.cross_entropy(F.linear(torch.cat([u, v, (u - v).abs()], 1), weight, self.classifier.bias), labels)

        return over_widths(self.matryoshka, loss)

    def contrast(self, features: dict[str, Tensor], short) -> Tensor:
        """InfoNCE among second texts and all hard negatives; a text equal to either of a pair's own is no negative."""
        view, vectors, content = features["view"], short(features["text"]), features["content"]
        left, right, negatives = (vectors[place] for place in (view == 0, view == 1, view > 1))
        own, others, hard = (content[place] for place in (view == 0, view == 1, view > 1))

        def same_text(keys: Tensor) -> Tensor:
            return (own[:, None, 0] == keys[None, :, 0]) | (others[:, None, 0] == keys[None, :, 0])

        same = equal_contents(own, others) | same_text(others)
        more = [(negatives, same_text(hard))] if len(negatives) else []
        loss = info_nce(left, right, self.temperature, same=same, more=more)
        if self.symmetric:
            back = same.T | (others[:, None, 0] == own[None, :, 0])
            loss = (loss + info_nce(right, left, self.temperature, same=back)) / 2
        return loss

    def watched(self, features: dict[str, Tensor]) -> Watched:
        view = features["view"]
        left, right = features["text"][view == 0], features["text"][view == 1]
        return Watched(left, None, left, right)
