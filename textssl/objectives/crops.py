"""Contrast of two spans of one document."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.objectives.base import Encoded, Objective, Watched
from textssl.objectives.embedding import (
    ProjectorWidth,
    Temperature,
    Widths,
    build_projector,
    check_widths,
    encode_texts,
    two_view_loss,
    watch_views,
)
from textssl.sample_types import Document, Views, content_key
from textssl.tokenizer.vocabulary import Vocabulary
from textssl.views.crops import Overlap, two_spans

Tokens = Annotated[int, Field(ge=1)]
Gap = Annotated[int, Field(ge=0)] | None


class Crops(Objective):
    """Two spans of a document attract, spans of other documents repel (arXiv:2006.03659, eq. 1; arXiv:2112.09118).

    min_tokens, max_tokens: between which the length of a span is drawn, special tokens not counted. overlap: disjoint
    spans, or any. max_gap: tokens between disjoint spans, at most; null: they lie anywhere. symmetric, matryoshka,
    projector_width: as in simcse.
    """

    sample = "documents"
    embeds = gathers = True
    least_samples = 2

    def __init__(
        self,
        min_tokens: Tokens = 8,
        max_tokens: Tokens = 48,
        overlap: Overlap = "disjoint",
        max_gap: Gap = None,
        temperature: Temperature = 0.05,
        symmetric: bool = False,
        matryoshka: Widths = [],  # noqa: B006 (read as a schema, never changed)
        projector_width: ProjectorWidth = None,
    ):
        super().__init__()
        check_lengths(min_tokens, max_tokens)
        self.min_tokens, self.max_tokens = min_tokens, max_tokens
        self.overlap: Overlap = overlap
        self.max_gap = max_gap
        self.temperature, self.symmetric = temperature, symmetric
        self.matryoshka, self.projector_width = list(matryoshka), projector_width

    def build(self, backbone: nn.Module, vocabulary: Vocabulary) -> None:
        super().build(backbone, vocabulary)
        self.projector = build_projector(self.backbone.learned_width, self.projector_width)
        check_widths(self.matryoshka, self.projector_width or self.backbone.learned_width)

    def corrupt(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        return crop_views(sample, self.min_tokens, self.max_tokens, self.overlap, rng, self.max_gap)

    def check_length(self, tokens: int) -> None:
        check_room(self.max_tokens, tokens)

    def encode(self, batch: Texts) -> Encoded:
        return encode_texts(self.backbone, self.projector, batch)

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"crops": two_view_loss(features, self.temperature, self.symmetric, self.matryoshka)}

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return watch_views(features)


def crop_views(
    document: Document,
    min_tokens: int,
    max_tokens: int,
    overlap: Overlap,
    rng: np.random.Generator,
    max_gap: int | None,
) -> Views:
    """Two spans of a document as views (see views.crops); documents of equal text have one source."""
    spans = two_spans(document.marks, min_tokens, max_tokens, overlap, rng, max_gap)
    source = content_key(document.ids) if document.source is None else document.source
    return Views([document.ids[begin:end].copy() for begin, end in spans], source)  # copied, so that the rest can go


def check_room(max_tokens: int, tokens: int) -> None:
    if max_tokens > tokens:
        raise UserError(
            f"objective.max_tokens is {max_tokens}, but texts are cut at {tokens} tokens: raise data.sequence_length"
        )


def check_lengths(min_tokens: int, max_tokens: int) -> None:
    if min_tokens > max_tokens:
        raise UserError(
            f"objective.min_tokens is {min_tokens} and objective.max_tokens {max_tokens}: it must not be less"
        )
