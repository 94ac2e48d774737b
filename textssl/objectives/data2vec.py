"""Prediction of a momentum teacher's states at the hidden tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Rows
from textssl.errors import UserError
from textssl.models.teacher import follow, momentum_copy
from textssl.objectives.base import Encoded, Facts, Term, predicted
from textssl.objectives.mlm import MaskedLM, Rate
from textssl.objectives.row_states import row_states
from textssl.objectives.two_views import Momentum, scheduled
from textssl.sample_types import IGNORE
from textssl.views.masking import Unit


class Data2Vec(MaskedLM):
    """Predict, at the hidden tokens, the top layers of a momentum teacher that sees the whole text (arXiv:2202.03555).

    The target of a token is the mean of these layers, each normalised without parameters (section 3.3); the loss is
    smooth L1 (eq. 2), a mean over the width. Hidden places always show the mask token. top_layers: how many of the
    teacher's layers, from the last. beta: the error at which the loss turns from quadratic to linear. momentum: of the
    teacher, constant or [first, last], in between along half a cosine over the run. mask_rate, unit, span_mean: as in
    mlm.
    """

    backbone_kind = "bare"
    against_collapse = "raise objective.momentum towards 1, lower optimizer.lr, lengthen the warmup, or hide less"
    teacher: Any

    def __init__(
        self,
        mask_rate: Rate = 0.3,
        unit: Unit = "token",
        span_mean: Annotated[float, Field(gt=1)] = 3.0,
        top_layers: Annotated[int, Field(ge=1)] = 3,
        beta: Annotated[float, Field(gt=0)] = 1.0,
        momentum: Momentum = (0.99, 0.9999),
    ):
        super().__init__(mask_rate, unit=unit, span_mean=span_mean, random_rate=0.0, keep_rate=0.0)
        self.top_layers, self.beta, self.momentum = top_layers, beta, momentum

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        width, layers = self.backbone.model.config.hidden_size, self.backbone.model.config.num_hidden_layers
        if self.top_layers > layers:
            raise UserError(f"objective.top_layers is {self.top_layers}, but the model has {layers} layers")
        self.teacher = momentum_copy(backbone)
        self.head = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def train(self, mode: bool = True) -> Data2Vec:
        """The teacher always runs without dropout."""
        super().train(mode)
        if hasattr(self, "teacher"):
            self.teacher.eval()
        return self

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"data2vec": len(batch.facts.predicted)}

    def forward(self, batch: Rows) -> Encoded:
        states = self.backbone.states(batch)  # (rows, length, width)
        found = self.head(predicted(states, batch)[0])  # (hidden tokens, width)
        wanted = self.targets(batch).to(torch.promote_types(found.dtype, torch.float32))
        total = F.smooth_l1_loss(found.to(wanted.dtype), wanted, reduction="sum", beta=self.beta) / wanted.shape[1]
        return Encoded({"data2vec": Term(total)}, {"row": row_states(states, batch)})

    @torch.no_grad()
    def targets(self, batch: Rows) -> Tensor:
        """(hidden tokens, width): what the teacher, which sees every token, has at the hidden places."""
        whole = replace(batch, ids=torch.where(batch.labels == IGNORE, batch.ids, batch.labels))
        layers = [predicted(layer, batch)[0] for layer in self.teacher.hidden_states(whole, last=self.top_layers)]
        exact = torch.promote_types(layers[0].dtype, torch.float32)
        return torch.stack([F.layer_norm(layer.to(exact), layer.shape[-1:]) for layer in layers]).mean(0)

    @torch.no_grad()
    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        follow(self.teacher, self.backbone, scheduled(self.momentum, progress))
