"""data2vec: a masked student predicts what a momentum teacher sees in the whole text (arXiv:2202.03555)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textssl.batch import Rows
from textssl.models.teacher import follow, momentum_copy
from textssl.objectives.base import Encoded, Facts, Term, Watched, predicted
from textssl.objectives.mlm import MaskedLM
from textssl.sample_types import IGNORE


class Data2Vec(MaskedLM):
    """The mean of the teacher's last layers at the hidden positions (eq. 1 and 2)."""

    backbone_kind = "bare"
    teacher: Any

    def __init__(self, mask_rate: float = 0.3, layers: int = 2, momentum: float = 0.99):
        super().__init__(mask_rate)
        self.layers, self.momentum = layers, momentum

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.teacher, self.head = momentum_copy(backbone), nn.Linear(self.backbone.width, self.backbone.width)

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"data2vec": len(batch.facts.predicted)}

    def forward(self, batch: Rows) -> Encoded:
        whole = replace(batch, ids=torch.where(batch.labels == IGNORE, batch.ids, batch.labels))
        with torch.no_grad():
            layers = self.teacher.hidden_states(whole, last=self.layers)
            target = torch.stack([F.layer_norm(layer, layer.shape[-1:]) for layer in layers]).mean(0)
        hidden = self.backbone(batch)  # (rows, length, width)
        found, wanted = (predicted(states, batch)[0] for states in (self.head(hidden), target))
        total = F.smooth_l1_loss(found, wanted, reduction="sum") / hidden.shape[-1]
        return Encoded({"data2vec": Term(total)}, {"rows": hidden.mean(1)})

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return Watched(features["rows"])

    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        follow(self.teacher, self.backbone, self.momentum)
