"""A contrastive objective on padded rows with a parameter and a buffer inside its loss: all the contract allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textssl.batch import Batch, Rows
from textssl.objectives.base import Encoded, Facts, Objective
from textssl.sample_types import IGNORE, Document, RowFormat


@dataclass
class Views(Batch):
    """Two crops of each document: ids (samples, 2, length) int64, mask (samples, 2, length) bool."""

    ids: Tensor
    mask: Tensor
    samples: Tensor

    @property
    def tokens(self) -> int:
        return int(self.mask.sum())

    @property
    def padded_tokens(self) -> int:
        return self.mask.numel()


class TwoCrops(Objective):
    """Two crops of a document attract, all other documents of the global batch repel."""

    draws = "documents"
    center: Tensor

    def __init__(self, length: int = 12, momentum: float = 0.9):
        super().__init__()
        self.length, self.momentum = length, momentum

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.projector = nn.Linear(32, 16)
        self.log_scale = nn.Parameter(torch.tensor(2.0))  # learns inside batch_loss
        self.register_buffer("center", torch.zeros(16))  # moved by commit

    def row_format(self):
        return RowFormat(pad=self.vocabulary.pad)

    def make_view(self, sample: Document, rng: np.random.Generator, progress: float) -> np.ndarray:
        crops = np.full((2, self.length), self.vocabulary.pad)
        for crop in crops:
            start = int(rng.random() * max(len(sample.ids) - self.length, 1))
            piece = sample.ids[start : start + self.length]
            crop[: len(piece)] = piece
        return crops

    def collate(self, views: Sequence[Any], samples: Sequence[int]) -> Views:
        ids = torch.from_numpy(np.stack(views))
        return Views(ids, ids != self.vocabulary.pad, torch.tensor(samples, dtype=torch.int64))

    def embed(self, ids: Tensor, mask: Tensor, samples: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1]).expand_as(ids)
        rows = Rows(ids, mask.int(), positions, torch.full_like(ids, IGNORE), samples)
        hidden = self.backbone(rows) * mask.unsqueeze(-1)
        pooled = hidden.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return self.projector(pooled)  # (samples, 16)

    def forward(self, batch: Views) -> Encoded:
        features = [self.embed(batch.ids[:, k], batch.mask[:, k], batch.samples) for k in (0, 1)]
        return Encoded({}, {"query": features[0], "key": features[1], "seen": features[0].detach()})

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        query, key = (F.normalize(features[name] - self.center, dim=1) for name in ("query", "key"))
        return {"two_crops": F.cross_entropy(self.log_scale.exp() * query @ key.T, torch.arange(len(query)))}

    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        self.center.lerp_(features["seen"].mean(0), 1 - self.momentum)
