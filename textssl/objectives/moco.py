"""Contrast with a momentum encoder and a queue of its earlier keys."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.losses.contrast import info_nce
from textssl.losses.unit import unit
from textssl.models.teacher import follow, momentum_copy
from textssl.objectives.base import Encoded, Facts, Watched
from textssl.objectives.simcse import SimCSE
from textssl.objectives.two_views import (
    Momentum,
    Temperature,
    TwoViews,
    Widths,
    by_view,
    check_widths,
    equal_contents,
    over_widths,
    scheduled,
)
from textssl.views.kinds import AnyView, CropsView


class MoCo(TwoViews):
    """A view finds its partner's key, made by a slow copy of the encoder, among the keys of this step and of a queue.

    The queue of arXiv:1911.05722 (eq. 1 and 2), both directions as in arXiv:2104.02057 (algorithm 1). view: crops, or
    any other (dropout: the student's dropout and the teacher's delay tell the views apart). queue_size: number of keys
    in the queue. momentum: of the slow copy, constant or [first, last]. temperature, matryoshka: as in simcse.
    """

    against_collapse = SimCSE.against_collapse
    needs_dropout = False  # the teacher's delay tells views apart
    teacher: Any
    queue: Tensor
    queue_content: Tensor
    filled: Tensor

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        queue_size: Annotated[int, Field(ge=1)] = 512,
        momentum: Momentum = 0.9,
        temperature: Temperature = 0.05,
        matryoshka: Widths = [],  # noqa: B006 (read as a schema, never changed)
    ):
        super().__init__(view)
        self.queue_size, self.momentum = queue_size, momentum
        self.temperature, self.matryoshka = temperature, list(matryoshka)

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        check_widths(self.matryoshka, self.width)
        self.teacher = momentum_copy(backbone)
        self.register_buffer("queue", torch.zeros(self.queue_size, self.width))  # newest first
        self.register_buffer("queue_content", torch.zeros(self.queue_size, 2, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(1, dtype=torch.int64))

    def forward(self, batch: Texts) -> Encoded:
        encoded = super().forward(batch)
        with torch.no_grad():
            encoded.features["key"] = self.teacher.trainable_vectors(batch)
        return encoded

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        queries, keys = self.projected(features), by_view(features["key"])
        contents = by_view(features["content"])
        missing = torch.arange(self.queue_size, device=self.queue.device) >= self.filled

        def loss(short) -> Tensor:
            both = []
            for this, other in ((0, 1), (1, 0)):
                known = equal_contents(contents[this], self.queue_content) | missing
                same = equal_contents(contents[this], contents[other])
                negatives = [(short(self.queue), known)]
                pair = short(queries[this]), short(keys[other])
                both.append(info_nce(*pair, self.temperature, same=same, more=negatives))
            return torch.stack(both).mean()

        return {"moco": over_widths(self.matryoshka, loss)}

    def watched(self, features: dict[str, Tensor]) -> Watched:
        anchors = by_view(features["text"])[0]
        return Watched(anchors, None, anchors, by_view(features["key"])[1])

    @torch.no_grad()
    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        follow(self.teacher, self.backbone, scheduled(self.momentum, progress))
        keys = unit(features["key"])
        self.queue.copy_(torch.cat([keys.to(self.queue.dtype), self.queue])[: self.queue_size])
        self.queue_content.copy_(torch.cat([features["content"], self.queue_content])[: self.queue_size])
        self.filled.add_(len(keys)).clamp_(max=self.queue_size)
