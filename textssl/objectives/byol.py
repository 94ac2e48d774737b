"""Bootstrapping: predict what a momentum teacher makes of the other view."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.models.teacher import follow, momentum_copy
from textssl.objectives.base import Encoded, Facts
from textssl.objectives.two_views import Momentum, TwoViews, Width, build_head, by_view, cosines, scheduled
from textssl.views.kinds import AnyView, CropsView


class BYOL(TwoViews):
    """From one view, predict a momentum teacher's projection of the other; nothing repels (arXiv:2006.07733, eq. 2).

    view: crops, or any other. momentum: of the teacher, constant or [first, last]. projector_width: of the projector's
    hidden layer; null: no projector. projector_out: of its output; null: projector_width. predictor_width: of the
    predictor's hidden layer; null: no predictor, without which the vectors collapse.
    """

    needs_dropout = False  # the teacher's delay tells views apart
    against_collapse = (
        "raise objective.momentum so that the teacher moves slowly, see that there is a predictor, lower optimizer.lr, "
        "or lengthen the warmup"
    )
    teacher: Any

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        momentum: Momentum = (0.99, 1.0),
        projector_width: Width = 512,
        projector_out: Width = None,
        predictor_width: Width = 512,
    ):
        super().__init__(view, projector_width, "batch", projector_out)
        self.momentum, self.predictor_width = momentum, predictor_width

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.predictor = build_head(self.width, self.predictor_width, self.width, norm="batch")
        self.teacher = momentum_copy(self.student)

    @property
    def student(self) -> nn.ModuleList:
        """What the teacher copies."""
        return nn.ModuleList([self.backbone, self.projector])

    def forward(self, batch: Texts) -> Encoded:
        encoded = super().forward(batch)
        with torch.no_grad():
            encoded.features["target"] = self.teacher[0].trainable_vectors(batch)
        return encoded

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """2 - 2 cosine(prediction, target), summed over both directions and averaged over samples: from 0 to 8."""
        first, second = (self.predictor(view) for view in self.projected(features))
        with torch.no_grad():
            targets = [self.teacher[1](view) for view in by_view(features["target"])]
        return {"byol": (4 - 2 * cosines(first, targets[1]) - 2 * cosines(second, targets[0])).mean()}

    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        follow(self.teacher, self.student, scheduled(self.momentum, progress))
