"""The order of segments of a document, and how far apart they lie."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.losses.cross_entropy import mean_cross_entropy
from textssl.losses.unit import unit
from textssl.models.pretext.length_baseline import LengthBaseline
from textssl.models.pretext.segment_heads import DistanceHead, OrderHead
from textssl.objectives.base import Deals, Encoded, Facts, Objective, Watched
from textssl.sample_types import IGNORE, Document, Views, content_key
from textssl.views.segments import scattered, shuffled

GAPS = (16, 64, 256)  # tokens between two segments at which the next class of distance begins
FAR = len(GAPS) + 1  # the class of segments of different documents


class Order(Objective):
    """Segments of a document are shuffled: predict their permutation, and how far apart the first two lie.

    The jigsaw of arXiv:1603.09246 and the relative places of arXiv:1505.05192, on text (the order of sentences:
    arXiv:1909.11942, section 3.1). The farthest distance is that of a segment of another document. segments: how many
    of each document. min_tokens, max_tokens: bounds on the length of a segment. hidden_width: of both predictions'
    hidden layers. distance_weight: weight of the distance loss; that of the permutation is 1.
    """

    draws = "documents"
    deals: ClassVar[Deals] = "texts"
    backbone_kind = "sentence"
    least_samples = 2
    against_collapse = "raise objective.segments or distance_weight, lower optimizer.lr, or lengthen the warmup"

    def __init__(
        self,
        segments: Annotated[int, Field(ge=2, le=4)] = 3,
        min_tokens: Annotated[int, Field(ge=1)] = 8,
        max_tokens: Annotated[int, Field(ge=1)] = 32,
        hidden_width: Annotated[int, Field(ge=1)] = 256,
        distance_weight: Annotated[float, Field(ge=0)] = 1.0,
    ):
        super().__init__()
        if min_tokens > max_tokens:
            raise UserError(f"objective.min_tokens is {min_tokens} and max_tokens {max_tokens}: it must not be less")
        self.segments, self.min_tokens, self.max_tokens = segments, min_tokens, max_tokens
        self.hidden_width, self.distance_weight = hidden_width, distance_weight

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        width = self.backbone.trainable_width
        self.order = OrderHead(self.segments, width, self.hidden_width)
        self.distance = DistanceHead(FAR + 1, width, self.hidden_width)
        self.by_lengths = LengthBaseline(self.segments, (math.factorial(self.segments), FAR))

    def output_layers(self) -> list[nn.Linear]:
        return [head.layers[-1] for head in (self.order, self.distance)]  # type: ignore[misc]

    def check_length(self, tokens: int) -> None:
        if self.max_tokens > tokens:
            raise UserError(f"objective.max_tokens is {self.max_tokens}, but texts are cut at {tokens} tokens")

    def make_view(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        """The segments as shown. target: permutation * FAR + distance, -1 where the document is too short."""
        source = content_key(sample.ids) if sample.source is None else sample.source
        spans = scattered(sample.marks, self.segments, self.min_tokens, self.max_tokens, rng)
        if spans is None:
            return Views([sample.ids[:1].copy()] * self.segments, source, target=-1.0)
        shown, permutation, gap = shuffled(spans, rng)
        distance = int(np.searchsorted(GAPS, gap, side="right"))
        return Views([sample.ids[slice(*span)].copy() for span in shown], source, float(permutation * FAR + distance))

    def forward(self, batch: Texts) -> Encoded:
        content = torch.stack([batch.targets.long(), batch.source, batch.lengths], dim=1)
        return Encoded({}, {"text": self.backbone.trainable_vectors(batch), "content": content})

    def by_sample(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(samples, segments, width) vectors of length sqrt(width); (samples,) permutations and distances, or IGNORE;
        (samples, segments) lengths."""
        vectors = unit(features["text"]) * features["text"].shape[1] ** 0.5
        target, _, lengths = features["content"].unflatten(0, (-1, self.segments)).unbind(2)
        classes = target[:, 0].div(FAR, rounding_mode="floor"), target[:, 0] % FAR
        permutation, distance = (torch.where(target[:, 0] < 0, IGNORE, one) for one in classes)
        return vectors.unflatten(0, (-1, self.segments)), permutation, distance, lengths

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        vectors, permutation, distance, _ = self.by_sample(features)
        (first, second, *_), source = vectors.unbind(1), features["content"][:: self.segments, 1]
        far = torch.where(source == source.roll(-1), IGNORE, FAR)  # paired with a segment of the next sample
        logits = self.distance(torch.cat([first, first]), torch.cat([second, second.roll(-1, 0)]))
        return {
            "order": mean_cross_entropy(self.order(vectors), permutation),
            "distance": self.distance_weight * mean_cross_entropy(logits, torch.cat([distance, far])),
        }

    @torch.no_grad()
    def figures(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Accuracy of permutations and distances (within documents), and that of a baseline on lengths alone."""
        vectors, *targets, lengths = self.by_sample(features)
        guesses = self.order(vectors), self.distance(vectors[:, 0], vectors[:, 1])[:, :FAR]
        found = {}
        named = zip(("order", "distance"), targets, guesses, self.by_lengths(lengths), strict=True)
        for name, target, *answers in named:
            for who, logits in zip(("accuracy", "by_lengths"), answers, strict=True):
                found[f"{name}/{who}"] = (logits.argmax(1) == target).sum() / (target != IGNORE).sum().clamp(min=1)
        return found

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return Watched(features["text"][:: self.segments])

    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        _, *targets, lengths = self.by_sample(features)
        self.by_lengths.add(lengths, targets)
