"""Prediction of the words around a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.errors import UserError
from textssl.models.static import StaticTable
from textssl.objectives.base import Encoded, Facts, Objective, Term, Watched
from textssl.row_batches import WordRows
from textssl.sample_types import Row
from textssl.views.windows import distances_of, draw_by, kept_rates, seen_around


@dataclass
class Words:
    """Of one row: ids (words,), seen (words, 2 * window) bool, negatives (drawn,), and how many tokens the row has."""

    ids: np.ndarray
    seen: np.ndarray
    negatives: np.ndarray
    tokens: int


class SkipGram(Objective):
    """Predict the words around a word, against words drawn at random (word2vec, arXiv:1310.4546, eq. 4).

    A word is a token, and its vector the row of a static table. window: the most words to either side; how many it is,
    from 1 up, is drawn for each word. negatives: how many count for each pair, drawn in proportion to frequency to the
    power of 0.75. drawn: how many are drawn for a row, whose pairs share them, each with the weight negatives / drawn
    (arXiv:1604.04661, section 3: many times faster, and the same on average). subsampling: frequent words are left out
    at random; one of frequency f stays with probability sqrt(subsampling / f) (eq. 5); null: all stay.
    """

    backbone_kind = "sentence"
    table_only = True
    against_collapse = "raise objective.negatives: they alone keep vectors apart"

    def __init__(
        self,
        window: Annotated[int, Field(ge=1)] = 5,
        negatives: Annotated[int, Field(ge=0)] = 5,
        drawn: Annotated[int, Field(ge=1)] = 64,
        subsampling: Annotated[float, Field(gt=0)] | None = 1e-4,
    ):
        super().__init__()
        self.window, self.negatives, self.drawn, self.subsampling = window, negatives, drawn, subsampling

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        table = self.backbone.backbone
        if not isinstance(table, StaticTable):
            raise UserError("objective.name=skipgram trains a static table: take model.preset=static-mini")
        frequencies = table.frequencies.double().cpu().numpy().copy()
        if facts.frequencies is not None:  # a table out of a folder does not know how often its tokens occur
            frequencies[:] = facts.frequencies.min()  # it may have more tokens than the tokenizer
            frequencies[: len(facts.frequencies)] = facts.frequencies
        frequencies[list(self.vocabulary.special)] = 0.0
        frequencies /= frequencies.sum()
        self.kept = np.ones(len(frequencies)) if self.subsampling is None else kept_rates(frequencies, self.subsampling)
        self.cumulative = (frequencies**0.75).cumsum()
        self.contexts = nn.Embedding(table.embedding.num_embeddings, table.embedding.embedding_dim)
        nn.init.zeros_(self.contexts.weight)

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> Words:
        places = np.flatnonzero(~sample.special)
        places = places[rng.random(len(places)) < self.kept[sample.ids[places]]]
        reach = rng.integers(1, self.window, len(places), endpoint=True)
        seen = seen_around(sample.documents[places], reach, self.window)
        negatives = draw_by(self.cumulative, self.drawn, rng)
        return Words(sample.ids[places], seen, negatives, int((sample.documents > 0).sum()))

    def collate(self, views: Sequence[Words], samples: Sequence[int]) -> WordRows:
        length = max(len(view.ids) for view in views)
        ids = np.zeros((len(views), length), np.int64)  # rows are filled up with words that see nothing
        seen = np.zeros((len(views), length, 2 * self.window), bool)
        for row, view in enumerate(views):
            ids[row, : len(view.ids)], seen[row, : len(view.ids)] = view.ids, view.seen
        return WordRows(
            *(torch.from_numpy(ids), torch.from_numpy(seen)),
            negatives=torch.from_numpy(np.stack([view.negatives for view in views])),
            samples=torch.tensor(samples, dtype=torch.int64),
            pairs=int(seen.sum()),
            row_tokens=sum(view.tokens for view in views),
        )

    def counts(self, batch: WordRows) -> dict[str, int]:
        return {"skipgram": batch.pairs}

    def forward(self, batch: WordRows) -> Encoded:
        words = F.embedding(batch.ids, self.backbone.backbone.embedding.weight)  # (rows, words, width)
        contexts, negatives = self.contexts(batch.ids), self.contexts(batch.negatives)
        total = words.new_zeros(())
        for seen, distance in zip(batch.seen.unbind(2), distances_of(self.window).tolist(), strict=True):
            word, other = (slice(-distance, None), slice(None, distance))
            if distance > 0:
                word, other = slice(None, -distance), slice(distance, None)
            scores = (words[:, word] * contexts[:, other]).sum(2)
            total = total + (F.softplus(-scores) * seen[:, word]).sum()
        scores = (words @ negatives.transpose(1, 2)).to(words.dtype)  # (rows, words, drawn)
        pairs = batch.seen.sum(2) * (self.negatives / self.drawn)
        total = total + (F.softplus(scores).sum(2) * pairs).sum()
        first = words.detach()[:, 0] if words.shape[1] else words.new_zeros(len(batch), words.shape[2])
        return Encoded({"skipgram": Term(total)}, {"word": first})

    def watched(self, features: dict[str, Tensor]) -> Watched:
        """The vector of the first word that subsampling has left in each row."""
        return Watched(features["word"])
