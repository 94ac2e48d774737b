"""Contrast with a momentum encoder and a queue of its earlier keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.losses import info_nce
from textssl.models.teacher import follow, momentum_copy
from textssl.objectives.base import Encoded, Objective, Watched
from textssl.objectives.crops import Gap, Tokens, check_lengths, check_room, crop_views
from textssl.objectives.embedding import (
    Temperature,
    Widths,
    check_widths,
    encode_texts,
    equal_contents,
    over_widths,
    two_views,
)
from textssl.sample_types import Document, Views, content_key
from textssl.tokenizer.vocabulary import Vocabulary
from textssl.views.crops import Overlap


class MoCo(Objective):
    """A view finds its partner's key, made by a slow copy of the encoder, among the keys of this step and of a queue.

    The queue of arXiv:1911.05722 (eq. 1 and 2), both directions as in arXiv:2104.02057 (algorithm 1). view: two spans
    of a document (crops), or a sentence twice (sentences; the student's dropout and the teacher's delay tell them
    apart). queue_size: keys that are kept. momentum: of the slow copy. The others: as in crops.
    """

    embeds = gathers = True
    least_samples = 2
    teacher: Any
    queue: Tensor
    queue_content: Tensor
    filled: Tensor

    def __init__(
        self,
        queue_size: Annotated[int, Field(ge=1)] = 512,
        momentum: Annotated[float, Field(ge=0, le=1)] = 0.9,
        view: Literal["crops", "sentences"] = "crops",
        min_tokens: Tokens = 8,
        max_tokens: Tokens = 48,
        overlap: Overlap = "disjoint",
        max_gap: Gap = None,
        temperature: Temperature = 0.05,
        matryoshka: Widths = [],  # noqa: B006 (read as a schema, never changed)
    ):
        super().__init__()
        check_lengths(min_tokens, max_tokens)
        self.queue_size, self.momentum, self.view = queue_size, momentum, view
        self.min_tokens, self.max_tokens = min_tokens, max_tokens
        self.overlap: Overlap = overlap
        self.max_gap = max_gap
        self.temperature, self.matryoshka = temperature, list(matryoshka)
        self.sample = "documents" if view == "crops" else "sentences"

    def build(self, backbone: nn.Module, vocabulary: Vocabulary) -> None:
        super().build(backbone, vocabulary)
        check_widths(self.matryoshka, self.backbone.learned_width)
        self.teacher = momentum_copy(backbone)
        self.register_buffer("queue", torch.zeros(self.queue_size, self.backbone.learned_width))  # newest first
        self.register_buffer("queue_content", torch.zeros(self.queue_size, 2, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(1, dtype=torch.int64))

    def corrupt(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        if self.view == "sentences":
            return Views([sample.ids, sample.ids], source=content_key(sample.ids))
        return crop_views(sample, self.min_tokens, self.max_tokens, self.overlap, rng, self.max_gap)

    def check_length(self, tokens: int) -> None:
        if self.view == "crops":
            check_room(self.max_tokens, tokens)

    def encode(self, batch: Texts) -> Encoded:
        encoded = encode_texts(self.backbone, nn.Identity(), batch)
        with torch.no_grad():
            encoded.features["key"] = self.teacher.learned(batch)
        return encoded

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        queries, keys = two_views(features), two_views(features, "key")
        contents = two_views(features, "content")
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
        anchors = two_views(features)[0]
        return Watched(anchors, None, anchors, two_views(features, "key")[1])

    @torch.no_grad()
    def commit(self, features: dict[str, Tensor]) -> None:
        follow(self.teacher, self.backbone, self.momentum)
        keys = F.normalize(features["key"], dim=1)
        self.queue.copy_(torch.cat([keys.to(self.queue.dtype), self.queue])[: self.queue_size])
        self.queue_content.copy_(torch.cat([features["content"], self.queue_content])[: self.queue_size])
        self.filled.add_(len(keys)).clamp_(max=self.queue_size)
