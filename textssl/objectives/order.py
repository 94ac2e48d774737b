"""The order of segments of a document, and how far apart they lie."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.losses import mean_cross_entropy
from textssl.models.fitted.length_baseline import LengthBaseline
from textssl.objectives.base import Deals, Encoded, Facts, Objective, Watched
from textssl.objectives.two_views import build_head
from textssl.sample_types import IGNORE, Document, Views, content_key
from textssl.views.segments import scattered, shuffled

GAPS = (16, 64, 256)  # tokens between two segments, at which another class of distance begins
FAR = len(GAPS) + 1  # the class of segments of different documents


class Order(Objective):
    """Segments of a document are shuffled: predict their permutation, and how far apart the first two lie.

    The jigsaw of arXiv:1603.09246 and the relative places of arXiv:1505.05192, on text (the order of sentences:
    arXiv:1909.11942, section 3.1). segments: of a document. min_tokens, max_tokens: of a segment. hidden_width: of both
    predictions' hidden layers. distance_weight: of the distance, beside 1 for the permutation. other_documents: whether
    the farthest distance is that of a segment of another document.
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
        other_documents: bool = True,
    ):
        super().__init__()
        if min_tokens > max_tokens:
            raise UserError(f"objective.min_tokens is {min_tokens} and max_tokens {max_tokens}: it must not be less")
        self.segments, self.min_tokens, self.max_tokens = segments, min_tokens, max_tokens
        self.hidden_width, self.distance_weight, self.other_documents = hidden_width, distance_weight, other_documents
        self.permutations = math.factorial(segments)
        self.pairs = list(combinations(range(segments), 2))

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        width = self.backbone.trainable_width
        self.order = build_head(width * (self.segments + len(self.pairs)), self.hidden_width, self.permutations)
        self.distance = build_head(2 * width, self.hidden_width, FAR + 1)
        self.by_lengths = LengthBaseline(self.segments, (self.permutations, FAR))

    def output_layers(self) -> list[nn.Linear]:
        return [self.order[-1], self.distance[-1]]  # type: ignore[index,list-item]

    def check_length(self, tokens: int) -> None:
        if self.max_tokens > tokens:
            raise UserError(
                f"objective.max_tokens is {self.max_tokens}, but texts are cut at {tokens} tokens: raise "
                "data.sequence_length"
            )

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
        """(samples, segments, width) vectors; permutations and distances, or IGNORE; (samples, segments) lengths."""
        target, _, lengths = features["content"].unflatten(0, (-1, self.segments)).unbind(2)
        target = target[:, 0]
        classes = (target.div(FAR, rounding_mode="floor"), target % FAR)
        permutation, distance = (torch.where(target < 0, IGNORE, one) for one in classes)
        return features["text"].unflatten(0, (-1, self.segments)), permutation, distance, lengths

    def order_logits(self, vectors: Tensor) -> Tensor:
        products = [vectors[:, one] * vectors[:, other] for one, other in self.pairs]
        return self.order(torch.cat([vectors.flatten(1), *products], dim=1) * vectors.shape[2] ** 0.5)

    def distance_logits(self, first: Tensor, second: Tensor) -> Tensor:
        """(samples, FAR + 1), the same whichever of the two comes first."""
        return self.distance(torch.cat([(first - second).abs(), first * second * first.shape[1] ** 0.5], dim=1) * 8)

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        vectors, permutation, distance, _ = self.by_sample(features)
        losses = {"order": mean_cross_entropy(self.order_logits(vectors), permutation)}
        if self.distance_weight:
            first, second = vectors[:, 0], vectors[:, 1]
            if self.other_documents:
                source = features["content"][:: self.segments, 1]
                far = torch.where(source == source.roll(-1), IGNORE, FAR)
                first, second = torch.cat([first, first]), torch.cat([second, second.roll(-1, 0)])
                distance = torch.cat([distance, far])
            losses["distance"] = self.distance_weight * mean_cross_entropy(
                self.distance_logits(first, second), distance
            )
        return losses

    @torch.no_grad()
    def figures(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Shares of right permutations and distances (inside of documents), and those of who sees only the lengths."""
        vectors, permutation, distance, lengths = self.by_sample(features)
        guesses = {
            "order": self.order_logits(vectors),
            "distance": self.distance_logits(*vectors.unbind(1)[:2])[:, :FAR],
        }
        right = zip(guesses, (permutation, distance), self.by_lengths(lengths), strict=True)
        known = (permutation != IGNORE).sum().clamp(min=1)
        found = {}
        for name, target, baseline in right:
            found[f"{name}/accuracy"] = (guesses[name].argmax(1) == target).sum() / known
            found[f"{name}/by_lengths"] = (baseline.argmax(1) == target).sum() / known
        return found

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return Watched(features["text"][:: self.segments])

    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        _, permutation, distance, lengths = self.by_sample(features)
        self.by_lengths.add(lengths, (permutation, distance))
