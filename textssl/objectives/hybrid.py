"""Masked and causal language modelling in one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from textssl.batch import Rows, empty_like
from textssl.errors import UserError
from textssl.models.configuration import DECODER, Pretext
from textssl.models.denoising.causal_twin import FAMILY, causal_twin
from textssl.models.heads import LanguageModel
from textssl.objectives.base import Encoded, Facts, Term, predicted, stack_rows
from textssl.objectives.clm import CausalLM
from textssl.objectives.diffusion import strata
from textssl.objectives.mlm import MaskedLM, Rate
from textssl.objectives.row_states import row_states
from textssl.row_batches import HybridRows
from textssl.sample_types import IGNORE, Row, RowFormat
from textssl.views.masking import Unit


@dataclass
class BothViews:
    """A row in both forms; its place in the step decides which of them is used."""

    masked: Row
    causal: Row


class Hybrid(MaskedLM):
    """Masked rows and causal rows through the same weights (GPT-BERT, arXiv:2410.24159, section 2).

    Every state predicts the next position: in a causal row each token from those before it, in a masked row the hidden
    tokens from both sides, each from the state before it. causal_rate: share of the rows of a step that are causal, and
    the weight of their loss; masked rows have the rest. mask_rate, unit, span_mean, random_rate, keep_rate: as in mlm.
    """

    least_samples = 2  # one row of each kind
    codes_text = "causal"
    sets_direction = True
    pretext = Pretext("hybrid", prediction_offset=1)

    def __init__(
        self,
        causal_rate: Annotated[float, Field(gt=0, lt=1)] = 0.5,
        mask_rate: Rate = 0.3,
        unit: Unit = "token",
        span_mean: Annotated[float, Field(gt=1)] = 3.0,
        random_rate: Rate = 0.1,
        keep_rate: Rate = 0.1,
    ):
        super().__init__(mask_rate, unit=unit, span_mean=span_mean, random_rate=random_rate, keep_rate=keep_rate)
        self.causal_rate = causal_rate

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        family = self.backbone.model.config.model_type
        if family != FAMILY:
            raise UserError(
                "objective.name=hybrid trains one model as encoder and decoder, which transformers has both of for "
                f"{FAMILY} alone, not for {family}: take model.preset=modernbert-nano, or {FAMILY} as model_type"
            )
        self.causal_lm = CausalLM()  # says what a causal row is
        self.causal_lm.vocabulary = self.vocabulary
        if self.vocabulary.eos is None:
            raise UserError("hybrid needs an end-of-sequence token and this tokenizer has none: set its eos_token")
        causal = min(max(1, round(self.causal_rate * facts.batch_size)), max(1, facts.batch_size - 1))
        self.is_causal = strata(facts.batch_size) < causal  # (rows of a step,)

    def row_format(self) -> RowFormat:
        return self.causal_lm.row_format()

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> BothViews:
        masked = super().make_view(sample, rng, progress)
        assert masked.labels is not None
        labels = np.full_like(masked.labels, IGNORE)
        labels[:-1] = masked.labels[1:]  # a piece begins with a token that is never hidden
        return BothViews(replace(masked, labels=labels), self.causal_lm.make_view(sample, rng, progress))

    def collate(self, views: Sequence[BothViews], samples: Sequence[int]) -> HybridRows:
        def of_kind(causal: bool) -> Rows:
            rows = [view.causal if causal else view.masked for view in views]
            kept = [place for place, sample in enumerate(samples) if self.is_causal[sample] == causal]
            if not kept:
                return empty_like(stack_rows(rows[:1], samples[:1]))
            return stack_rows([rows[place] for place in kept], [samples[place] for place in kept])

        masked, causal = of_kind(False), of_kind(True)
        return HybridRows(masked, causal, stack_rows([view.causal for view in views], samples).samples)

    def counts(self, batch: HybridRows) -> dict[str, int]:
        return {"masked": len(batch.masked.facts.predicted), "causal": len(batch.causal.facts.predicted)}

    def forward(self, batch: HybridRows) -> Encoded:
        terms, states = {}, []
        for name, rows, share in (
            ("masked", batch.masked, 1 - self.causal_rate),
            ("causal", batch.causal, self.causal_rate),
        ):
            hidden = self.backbone(rows, causal=name == "causal")  # (rows, length, width)
            terms[name] = Term(self.backbone.cross_entropy(*predicted(hidden, rows)), share)
            states.append(row_states(hidden, rows))
        order = torch.cat([batch.masked.samples, batch.causal.samples]).argsort()
        return Encoded(terms, {"row": torch.cat(states)[order]})

    def export_others(self, run: Path, tokenizer: Any) -> list[Path]:
        """RUN/decoder: the same weights as a ModernBertDecoderForCausalLM."""
        return [LanguageModel(causal_twin(self.backbone.model)).export(run / DECODER, tokenizer)]
