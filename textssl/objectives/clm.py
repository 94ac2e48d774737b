"""Causal language modelling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import nn

from textssl.batch import Rows
from textssl.errors import UserError
from textssl.models.configuration import Pretext
from textssl.objectives.base import Encoded, Facts, Term, predicted
from textssl.objectives.row_states import WatchedRows
from textssl.sample_types import IGNORE, Row, RowFormat


class CausalLM(WatchedRows):
    """Predict each token from those before it in its document (Radford et al. 2018, equation 1).

    Every piece of a document begins with the beginning-of-sequence token, so that its first token is predicted too;
    the end-of-sequence token follows the last token of a document only, so that a model learns where text ends.
    """

    backbone_kind = "causal"
    codes_text = True
    pretext = Pretext("clm", 1)

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        if self.vocabulary.eos is None:
            raise UserError("clm needs an end-of-sequence token and this tokenizer has none: set its eos_token")

    def row_format(self) -> RowFormat:
        vocabulary = self.vocabulary
        begin = vocabulary.eos if vocabulary.bos is None else vocabulary.bos
        return RowFormat(prefix=(begin,), end=(vocabulary.eos,), pad=vocabulary.pad)  # type: ignore[arg-type]

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> Row:
        labels = np.full(len(sample.ids), IGNORE, dtype=np.int64)
        same = (sample.documents[:-1] == sample.documents[1:]) & (sample.documents[:-1] > 0)
        labels[:-1][same] = sample.ids[1:][same]
        return replace(sample, labels=labels)

    def counts(self, batch: Rows) -> dict[str, int]:
        return {"clm": len(batch.facts.predicted)}

    def forward(self, batch: Rows) -> Encoded:
        hidden = self.backbone(batch)  # (rows, length, width)
        total = self.backbone.cross_entropy(*predicted(hidden, batch))
        return Encoded({"clm": Term(total)}, self.row_features(hidden, batch))
