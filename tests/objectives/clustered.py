"""Two small objectives of kinds that no shipped one has yet: views dealt together, a refresh over the corpus."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.objectives.base import Deals, Embed, Encoded, Facts, Objective, Term, Watched
from textssl.objectives.two_views import TwoViews, by_view
from textssl.sample_types import Document, Views, content_key
from textssl.views.kinds import CropsView


class Rebuilt(Objective):
    """The vector of a text predicts which tokens its other view has: a term over a pair, both in one micro-batch."""

    draws = "documents"
    backbone_kind = "sentence"
    deals: ClassVar[Deals] = "samples"

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.output = nn.Linear(self.backbone.trainable_width, facts.vocabulary.size)

    def make_view(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        kept = rng.random(len(sample.ids)) > 0.4
        kept[0] = True
        return Views([sample.ids[:20][kept[:20]], sample.ids[:20]], content_key(sample.ids))

    def counts(self, batch: Texts) -> dict[str, int]:
        return {"rebuilt": int(batch.lengths[1::2].sum())}

    def forward(self, batch: Texts) -> Encoded:
        assert torch.equal(batch.samples[0::2] + 1, batch.samples[1::2]), "the views of a sample lie side by side"
        vectors = self.backbone.trainable_vectors(batch)
        logits = self.output(vectors[0::2]).repeat_interleave(batch.lengths[1::2], dim=0)
        of_second = torch.arange(len(batch)).repeat_interleave(batch.lengths) % 2 == 1
        return Encoded(
            {"rebuilt": Term(F.cross_entropy(logits, batch.ids[of_second], reduction="sum"))}, {"v": vectors}
        )

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return Watched(by_view(features["v"])[0])


class Clustered(TwoViews):
    """A view predicts on which side of a hyperplane its document lay at the refresh."""

    keys: Tensor
    sides: Tensor
    refreshed: Tensor

    def __init__(self, refresh_every: int = 4):
        super().__init__(CropsView(min_tokens=4, max_tokens=16))
        self.refresh_every = refresh_every

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.classifier = nn.Linear(self.width, 2)
        self.register_buffer("keys", torch.zeros(facts.num_documents, dtype=torch.int64))
        self.register_buffer("sides", torch.zeros(facts.num_documents, dtype=torch.int64))
        self.register_buffer("refreshed", torch.zeros(1, dtype=torch.int64))

    def refresh(self, embed: Embed) -> None:
        keys, vectors = embed()
        keys, order = keys.sort()
        self.keys.copy_(keys)
        self.sides.copy_((vectors[order, 0] > vectors[:, 0].median()).long())
        self.refreshed.add_(1)

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        sources = features["content"][:, 1].contiguous()
        found = torch.searchsorted(self.keys, sources).clamp(max=len(self.keys) - 1)
        known = self.keys[found] == sources
        assert known.all() or not self.training, "every document of a step was in the corpus"
        return {"clustered": F.cross_entropy(self.classifier(features["text"]), self.sides[found])}
