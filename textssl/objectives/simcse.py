"""Contrast of two dropout views of a sentence."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from textssl.batch import Texts
from textssl.errors import UserError
from textssl.models.varlen import attention_dropout
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


class SimCSE(Objective):
    """Two dropout views of a sentence attract, the rest of the global batch repels (arXiv:2104.08821, eq. 1).

    symmetric: both views look for each other among all 2N - 2 others, SimCLR's NT-Xent (arXiv:2002.05709, eq. 1).
    matryoshka: shorter widths that learn too. projector_width: of a projector before the loss; null: none.
    """

    sample = "sentences"
    embeds = gathers = True
    least_samples = 2

    def __init__(
        self,
        temperature: Temperature = 0.05,
        symmetric: bool = False,
        matryoshka: Widths = [],  # noqa: B006 (read as a schema, never changed)
        projector_width: ProjectorWidth = None,
    ):
        super().__init__()
        self.temperature, self.symmetric = temperature, symmetric
        self.matryoshka, self.projector_width = list(matryoshka), projector_width

    def build(self, backbone: nn.Module, vocabulary: Vocabulary) -> None:
        super().build(backbone, vocabulary)
        if self.backbone.static:
            raise UserError("simcse makes its views by dropout, which a static encoder does not have: take crops")
        if not has_dropout(backbone):
            raise UserError("simcse makes its views by dropout and this model has none: set model.dropout=0.1")
        self.projector = build_projector(self.backbone.learned_width, self.projector_width)
        check_widths(self.matryoshka, self.projector_width or self.backbone.learned_width)

    def corrupt(self, sample: Document, rng: np.random.Generator, progress: float) -> Views:
        return Views([sample.ids, sample.ids], source=content_key(sample.ids))

    def encode(self, batch: Texts) -> Encoded:
        return encode_texts(self.backbone, self.projector, batch)  # dropout differs from text to text

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"simcse": two_view_loss(features, self.temperature, self.symmetric, self.matryoshka)}

    def watched(self, features: dict[str, Tensor]) -> Watched:
        return watch_views(features)


def has_dropout(model: nn.Module) -> bool:
    """Whether two forwards in training mode differ: a Dropout layer, or a configured rate of dropout in attention."""
    if any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()):
        return True
    return any(attention_dropout(getattr(module, "config", None)) > 0 for module in model.modules())
