"""Denoising with an encoder-decoder: T5's span corruption and BART's noises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from torch import nn

from textssl.errors import UserError
from textssl.models.configuration import position_capacity
from textssl.models.seq2seq.pairs import RowPairs, stack_row_pairs
from textssl.objectives.base import Encoded, Facts, Term, predicted
from textssl.objectives.row_states import WatchedRows, row_states
from textssl.sample_types import SENTENCE_START, Denoised, Row, RowFormat
from textssl.views.denoising import NEEDS_MASK, Noise, corrupt, pair

Weight = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class Infilling(WatchedRows):
    """Write what a corrupted text has lost (T5, arXiv:1910.10683, section 3.1.4; BART, arXiv:1910.13461, section 2.2).

    The encoder reads the corrupted document; the decoder writes the hidden spans (spans) or the whole document (the
    other noises). The loss is the nats of a target, sentinels and end included, per token of text in it.

    noises: the noise of each document is drawn by these weights, from spans (each hidden behind a sentinel of its own),
    infilling (behind a mask), deletion (of tokens), permutation (of sentences) and rotation (of the document).
    mask_rate: share of the tokens that spans and infilling hide and deletion deletes. span_mean: tokens of a hidden
    span. target_length: tokens in the decoder's row; null: data.sequence_length. What does not fit is cut, and counted
    as target_overflow.
    """

    backbone_kind = "seq2seq"
    codes_text = True

    def __init__(
        self,
        noises: Annotated[dict[Noise, Weight], Field(min_length=1)] = {"spans": 1.0},  # noqa: B006
        mask_rate: Rate = 0.15,
        span_mean: Annotated[float, Field(ge=1)] = 3.0,
        target_length: Annotated[int, Field(ge=8)] | None = None,
    ):
        super().__init__()
        self.noises: list[Noise] = sorted(noises)
        self.shares = np.cumsum([noises[noise] for noise in self.noises][:-1]) / sum(noises.values())  # of all but one
        self.mask_rate, self.span_mean, self.target_length = mask_rate, span_mean, target_length

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        vocabulary, config = facts.vocabulary, self.backbone.model.config
        end = vocabulary.sep if vocabulary.eos is None else vocabulary.eos
        if end is None:
            raise UserError("infilling needs an end-of-sequence token and this tokenizer has none: set its eos_token")
        if vocabulary.mask is None and any(noise in NEEDS_MASK for noise in self.noises):
            raise UserError("objective.noises names infilling, which needs a mask token, and this tokenizer has none")
        self.most_tokens, capacity = self.target_length or facts.sequence_length, position_capacity(config)
        if capacity is not None and capacity < self.most_tokens:
            raise UserError(f"objective.target_length is {self.most_tokens}, but the model has {capacity} positions")
        self.sentinels, self.end = np.array(self.backbone.sentinels, dtype=np.int64), np.array([end])
        self.begin = self.backbone.begin
        config.textssl = {"objective": "infilling", "noises": self.noises}  # which gaps `textssl generate` fills

    def row_format(self) -> RowFormat:
        vocabulary = self.vocabulary
        return RowFormat(prefix=vocabulary.prefix, suffix=vocabulary.suffix, pad=vocabulary.pad)

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> Denoised:
        form, sources, targets = self.row_format(), [], []
        for document in range(1, int(sample.documents.max()) + 1):
            inside = (sample.documents == document) & ~sample.special
            source, target = corrupt(
                sample.ids[inside],
                (sample.marks[inside] & SENTENCE_START) > 0,
                self.noises[int(np.searchsorted(self.shares, rng.random(), side="right"))],
                rate=self.mask_rate,
                span_mean=self.span_mean,
                sentinels=self.sentinels,
                mask=self.vocabulary.mask,
                rng=rng,
            )
            sources.append(np.concatenate([form.prefix, source, form.suffix]).astype(np.int64))
            targets.append(np.concatenate([target, self.end]))
        unwritten = np.concatenate([self.sentinels, self.end])
        return pair(sources, targets, begin=self.begin, most=self.most_tokens, unwritten=unwritten)

    def collate(self, views: Sequence[Denoised], samples: Sequence[int]) -> RowPairs:
        return stack_row_pairs(views, samples, self.vocabulary.pad)

    def counts(self, batch: RowPairs) -> dict[str, int]:
        return {"infilling": int(batch.text_tokens.sum()), "target_overflow": int(batch.cut_tokens.sum())}

    def forward(self, batch: RowPairs) -> Encoded:
        hidden, read = self.backbone(batch)  # (rows, target length, width), (rows, source length, width)
        total = self.backbone.cross_entropy(*predicted(hidden, batch.target))
        return Encoded({"infilling": Term(total)}, {"row": row_states(read, batch.source)})
