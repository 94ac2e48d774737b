"""Replaced token detection."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import NumberedRows
from textssl.models.denoising.detector import Detector
from textssl.models.denoising.generator import Generator
from textssl.models.heads import LanguageModel
from textssl.objectives.base import Encoded, Facts, Term, predicted
from textssl.objectives.mlm import MaskedLM, Rate
from textssl.objectives.row_states import row_states
from textssl.sample_types import Row
from textssl.views.masking import Unit


class ReplacedToken(MaskedLM):
    """Detect which tokens a small generator has replaced (ELECTRA, arXiv:2003.10555, section 2).

    The generator is a masked language model on the same token embeddings; what it draws is shown to the model, which
    says of every token whether it is the original. generator_scale: its width as a share of the model's.
    detection_weight: weight of the detection loss; that of the generator's loss is 1. mask_rate, unit, span_mean: as in
    mlm; hidden places always show the mask token.
    """

    backbone_kind = "bare"

    def __init__(
        self,
        mask_rate: Rate = 0.15,
        generator_scale: Annotated[float, Field(gt=0, le=1)] = 1 / 3,
        detection_weight: Annotated[float, Field(gt=0)] = 50.0,
        unit: Unit = "token",
        span_mean: Annotated[float, Field(gt=1)] = 3.0,
    ):
        super().__init__(mask_rate, unit=unit, span_mean=span_mean, random_rate=0.0, keep_rate=0.0)
        self.generator_scale, self.detection_weight = generator_scale, detection_weight

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.generator = Generator(self.backbone, self.generator_scale, facts.frequencies)
        self.detector = Detector(self.backbone, share=self.mask_rate)

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> Row:
        """Adds a number in (0, 1] for each position, with which the generator draws its token if it is hidden."""
        view = super().make_view(sample, rng, progress)
        return replace(view, numbers=1 - rng.random(len(sample.ids), dtype=np.float32))

    def counts(self, batch: NumberedRows) -> dict[str, int]:
        return {"generator": len(batch.facts.predicted), "detector": batch.facts.tokens}

    def forward(self, batch: NumberedRows) -> Encoded:
        hidden, originals = predicted(self.generator(batch), batch)  # (hidden tokens, width), (hidden tokens,)
        likelihood = self.generator.cross_entropy(hidden, originals)
        shown, replaced = self.replaced(batch, hidden, originals)
        odds, states = self.detector(self.backbone, shown)  # (rows, length), (rows, length, width)
        odds = odds.to(torch.promote_types(odds.dtype, torch.float32))
        each = F.binary_cross_entropy_with_logits(odds, replaced.to(odds.dtype), reduction="none")
        detection = (each * (batch.documents > 0)).sum()
        terms = {"generator": Term(likelihood), "detector": Term(detection, self.detection_weight)}
        return Encoded(terms, {"row": row_states(states, batch)})

    def replaced(self, batch: NumberedRows, hidden: Tensor, originals: Tensor) -> tuple[NumberedRows, Tensor]:
        """The rows with drawn tokens in the hidden places, and where these are not the originals, (rows, length)."""
        places = batch.facts.predicted
        drawn = self.generator.sample(hidden.detach(), batch.numbers.flatten()[places])
        ids = batch.ids.flatten().index_copy(0, places, drawn).view_as(batch.ids)
        different = torch.zeros(batch.ids.numel(), dtype=torch.bool, device=ids.device)
        different = different.index_copy(0, places, drawn != originals).view_as(batch.ids)
        return replace(batch, ids=ids), different

    def export(self, path: Path, tokenizer: Any) -> None:
        LanguageModel(self.detector.stock[0]).export(path, tokenizer)
