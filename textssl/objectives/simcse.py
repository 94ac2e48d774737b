"""Contrast of two views of a sample with the rest of the global batch."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from textssl.losses.contrast import info_nce, nt_xent
from textssl.objectives.base import Facts
from textssl.objectives.two_views import (
    Temperature,
    TwoViews,
    Width,
    Widths,
    by_view,
    check_widths,
    equal_contents,
    over_widths,
)
from textssl.views.kinds import AnyView, DropoutView


class SimCSE(TwoViews):
    """Two views of a sample attract, the rest of the global batch repels: InfoNCE (arXiv:2104.08821, eq. 1).

    view: dropout (two dropout views of a sentence), or any other. symmetric: both views look for each other among all
    2N - 2 others, SimCLR's NT-Xent (arXiv:2002.05709, eq. 1). matryoshka: shorter widths, at which the first dimensions
    of the vectors are trained too. projector_width: of a projector before the loss; null: none.
    """

    term: ClassVar[str] = "simcse"
    against_collapse = (
        "nothing in the loss keeps vectors apart, or optimizer.lr is too high for the start: look at the negatives "
        "(temperature, batch size, queue), lower the rate, or lengthen the warmup"
    )

    def __init__(
        self,
        view: AnyView = DropoutView(),  # noqa: B008 (frozen)
        temperature: Temperature = 0.05,
        symmetric: bool = False,
        matryoshka: Widths = [],  # noqa: B006 (read as a schema, never changed)
        projector_width: Width = None,
    ):
        super().__init__(view, projector_width)
        self.temperature, self.symmetric = temperature, symmetric
        self.matryoshka = list(matryoshka)

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        check_widths(self.matryoshka, self.width)

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """InfoNCE from the first views to the second, or NT-Xent; equal contents never repel each other."""
        first, second = self.projected(features)
        keys = by_view(features["content"])
        if self.symmetric:
            both = torch.cat(keys)
            same, loss = equal_contents(both, both), nt_xent
        else:
            same, loss = equal_contents(*keys), info_nce

        def shortened(short: Any) -> Tensor:
            return loss(short(first), short(second), self.temperature, same=same)

        return {self.term: over_widths(self.matryoshka, shortened)}
