"""Masked language modelling."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import numpy as np
from pydantic import Field
from torch import nn

from textssl.batch import Rows
from textssl.errors import UserError
from textssl.models.configuration import Pretext
from textssl.models.denoising.frequencies import from_frequencies
from textssl.objectives.base import Encoded, Facts, Term, predicted
from textssl.objectives.row_states import WatchedRows
from textssl.sample_types import IGNORE, WORD_START, Row, RowFormat
from textssl.views.masking import Unit, choose, hide

Rate = Annotated[float, Field(ge=0, le=1)]


class MaskedLM(WatchedRows):
    """Predict the hidden tokens of a row from both sides (arXiv:1810.04805, section 3.1).

    mask_rate: share of the tokens that are hidden; 0.3 and above learn faster than BERT's 0.15 (arXiv:2202.08005).
    mask_rate_end: where given, the rate changes linearly to this value over the run. unit: what is hidden together: a
    token, a whole word, or a span of words of geometric length (arXiv:1907.10529), `span_mean` on average. random_rate,
    keep_rate: shares of the hidden places that show a random token, or their own.
    """

    pretext = Pretext("mlm")

    def __init__(
        self,
        mask_rate: Rate = 0.3,
        mask_rate_end: Rate | None = None,
        unit: Unit = "token",
        span_mean: Annotated[float, Field(gt=1)] = 3.0,
        random_rate: Rate = 0.1,
        keep_rate: Rate = 0.1,
    ):
        super().__init__()
        self.mask_rate = mask_rate
        self.mask_rate_end = mask_rate if mask_rate_end is None else mask_rate_end
        self.unit: Unit = unit
        self.span_mean = span_mean
        self.random_rate, self.keep_rate = random_rate, keep_rate
        if random_rate + keep_rate > 1:
            raise UserError(f"objective.random_rate + objective.keep_rate is {random_rate + keep_rate}, at most 1 fits")

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        if self.vocabulary.mask is None:
            raise UserError(
                "hidden tokens need a mask token and this tokenizer has none: train one with `textssl tokenizer train`"
            )
        from_frequencies(getattr(self.backbone.output, "bias", None), facts.frequencies)  # a bare backbone has no layer
        self.ordinary_ids = np.setdiff1d(np.arange(self.vocabulary.size), self.vocabulary.special)

    def row_format(self) -> RowFormat:
        vocabulary = self.vocabulary
        around = [() if token is None else (token,) for token in (vocabulary.cls, vocabulary.sep)]
        return RowFormat(prefix=around[0], suffix=around[1], pad=vocabulary.pad)

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> Row:
        chosen = choose(
            ~sample.special,
            (sample.marks & WORD_START) > 0,
            sample.documents,
            rate=self.mask_rate + progress * (self.mask_rate_end - self.mask_rate),
            unit=self.unit,
            span_mean=self.span_mean,
            rng=rng,
        )
        shown = hide(
            sample.ids,
            chosen,
            mask_id=self.vocabulary.mask,  # type: ignore[arg-type]
            ordinary_ids=self.ordinary_ids,
            random_rate=self.random_rate,
            keep_rate=self.keep_rate,
            rng=rng,
        )
        return replace(sample, ids=shown, labels=np.where(chosen, sample.ids, IGNORE))

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"mlm": len(batch.facts.predicted)}

    def forward(self, batch: Rows) -> Encoded:
        hidden = self.backbone(batch)  # (rows, length, width)
        total = self.backbone.cross_entropy(*predicted(hidden, batch))  # logits for hidden tokens only
        return Encoded({"mlm": Term(total)}, self.row_features(hidden, batch))
