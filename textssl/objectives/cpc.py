"""Contrastive predictive coding: from the sentences so far, predict the vectors of the next ones."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.losses.unit import unit
from textssl.objectives.base import Deals, Encoded, Facts, Objective, Watched
from textssl.objectives.two_views import Temperature
from textssl.sample_types import Document, Views, content_key
from textssl.views.segments import next_sentences


class CPC(Objective):
    """From the vectors of a document's sentences so far, find those of the next ones (arXiv:1807.03748, eq. 3 and 4).

    A recurrent network reads the sentences' vectors one after another, and linear layers predict from its state.
    num_sentences: consecutive sentences of a document. ahead: how many of the next sentences are predicted, each with a
    layer of its own. max_tokens: the length at which a sentence is cut. temperature: what cosines are divided by.
    same_document: whether the document's other sentences are negatives too, besides those of all other documents of the
    global batch.
    """

    draws = "documents"
    deals: ClassVar[Deals] = "texts"
    backbone_kind = "sentence"
    least_samples = 2
    against_collapse = "lower objective.temperature or optimizer.lr, raise train.batch_size, or lengthen the warmup"

    def __init__(
        self,
        num_sentences: Annotated[int, Field(ge=2)] = 6,
        ahead: Annotated[int, Field(ge=1)] = 3,
        max_tokens: Annotated[int, Field(ge=1)] = 64,
        temperature: Temperature = 0.1,
        same_document: bool = True,
    ):
        super().__init__()
        self.num_sentences, self.ahead = num_sentences, min(ahead, num_sentences - 1)
        self.max_tokens, self.temperature, self.same_document = max_tokens, temperature, same_document

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        width = self.backbone.trainable_width
        self.context = nn.GRU(width, width, batch_first=True)
        self.predictors = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(self.ahead))

    def make_view(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        """The sentences; a single token stands in for each that is missing. target: how many sentences there are."""
        spans = next_sentences(sample.marks, self.num_sentences, self.max_tokens, rng)
        texts = [sample.ids[begin:end].copy() for begin, end in spans]
        texts += [sample.ids[:1].copy()] * (self.num_sentences - len(spans))
        source = content_key(sample.ids) if sample.source is None else sample.source
        return Views(list(texts), source, target=float(len(spans)))

    def check_length(self, tokens: int) -> None:
        if self.max_tokens > tokens:
            raise UserError(f"objective.max_tokens is {self.max_tokens}, but texts are cut at {tokens} tokens")

    def forward(self, batch: Texts) -> Encoded:
        content = torch.stack([batch.text, batch.source, batch.targets.long()], dim=1)
        return Encoded({}, {"text": self.backbone.trainable_vectors(batch), "content": content})

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropy among all sentences: the mean over distances, 1 to `ahead` sentences, of the mean at each."""
        return {"cpc": torch.stack([self.predicted(features, ahead)[0] for ahead in range(1, self.ahead + 1)]).mean()}

    def predicted(self, features: dict[str, Tensor], ahead: int) -> tuple[Tensor, Tensor]:
        """Of predictions `ahead` sentences ahead: the mean loss, in nats, and the share that find their sentence."""
        text, source, count = features["content"].unbind(1)
        vectors = unit(features["text"])  # (sentences of all documents, width)
        states, _ = self.context(vectors.unflatten(0, (-1, self.num_sentences)))
        queries = unit(self.predictors[ahead - 1](states.flatten(0, 1)))
        place = torch.arange(len(vectors), device=vectors.device)
        document, number = place // self.num_sentences, place % self.num_sentences
        positive = (place + ahead).clamp(max=len(place) - 1)
        own = document[:, None] == document
        excluded = (number >= count) | (text[positive][:, None] == text)  # missing, or equal to what is predicted
        excluded |= (source[:, None] == source) & (~own if self.same_document else True)
        excluded &= place != positive[:, None]
        logits = (queries @ vectors.T / self.temperature).masked_fill(excluded, -torch.inf)
        there = number + ahead < count
        losses = F.cross_entropy(logits, positive, reduction="none")
        total = there.sum().clamp(min=1)
        return losses.where(there, 0.0).sum() / total, (there & (logits.argmax(1) == positive)).sum() / total

    @torch.no_grad()
    def figures(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Share of predictions of the next, the second, ... sentence that find it among all sentences of the batch."""
        return {f"cpc/accuracy_{ahead}": self.predicted(features, ahead)[1] for ahead in range(1, self.ahead + 1)}

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return Watched(features["text"][:: self.num_sentences])
