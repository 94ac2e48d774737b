"""Surrounding words from a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from textssl.batch import WordPairs
from textssl.errors import UserError
from textssl.models.static import StaticTable
from textssl.objectives.base import Encoded, Facts, Objective, Term, Watched
from textssl.sample_types import Row
from textssl.views.windows import draw_by, kept_rates, window_pairs


@dataclass
class Pairs:
    """Of one row: words and contexts (pairs,), negatives (pairs, per pair), and how many tokens the row has."""

    words: np.ndarray
    contexts: np.ndarray
    negatives: np.ndarray
    tokens: int


class SkipGram(Objective):
    """Predict the words around a word, against words drawn at random (word2vec, arXiv:1310.4546, eq. 4).

    A word is a token, and its vector the row of a static table. window: words to either side, of which a number from 1
    on is drawn for each word. negatives: drawn for each pair by frequency to the power of 0.75; one that is the context
    itself does not count. subsampling: frequent words are left out, one of frequency f stays with the probability
    sqrt(subsampling / f) (eq. 5); null: all stay.
    """

    backbone_kind = "sentence"
    against_collapse = "raise objective.negatives: they alone keep vectors apart"

    def __init__(
        self,
        window: Annotated[int, Field(ge=1)] = 5,
        negatives: Annotated[int, Field(ge=0)] = 5,
        subsampling: Annotated[float, Field(gt=0)] | None = 1e-4,
    ):
        super().__init__()
        self.window, self.negatives, self.subsampling = window, negatives, subsampling

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        table = self.backbone.backbone
        if not isinstance(table, StaticTable):
            raise UserError("objective.name=skipgram trains a static table: take model.preset=static-mini")
        frequencies = table.frequencies.double().cpu().numpy().copy()
        frequencies[list(self.vocabulary.special)] = 0.0
        frequencies /= frequencies.sum()
        self.kept = np.ones(len(frequencies)) if self.subsampling is None else kept_rates(frequencies, self.subsampling)
        self.cumulative = (frequencies**0.75).cumsum()
        self.contexts = nn.Embedding(*table.embedding.weight.shape)
        nn.init.zeros_(self.contexts.weight)

    def make_view(self, sample: Row, rng: np.random.Generator, progress: float) -> Pairs:
        places = np.flatnonzero(~sample.special)
        places = places[rng.random(len(places)) < self.kept[sample.ids[places]]]
        ids, reach = sample.ids[places], rng.integers(1, self.window, len(places), endpoint=True)
        words, others = window_pairs(sample.documents[places], reach, self.window)
        negatives = draw_by(self.cumulative, (len(words), self.negatives), rng)
        return Pairs(ids[words], ids[others], negatives, int((sample.documents > 0).sum()))

    def collate(self, views: Sequence[Pairs], samples: Sequence[int]) -> WordPairs:
        def joined(name: str) -> Tensor:
            return torch.from_numpy(np.concatenate([getattr(view, name) for view in views]))

        return WordPairs(
            *(joined("words"), joined("contexts"), joined("negatives")),
            rows=torch.arange(len(views)).repeat_interleave(torch.tensor([len(view.words) for view in views])),
            samples=torch.tensor(samples, dtype=torch.int64),
            tokens_seen=sum(view.tokens for view in views),
        )

    def counts(self, batch: WordPairs) -> dict[str, int]:
        return {"skipgram": len(batch.words)}

    def forward(self, batch: WordPairs) -> Encoded:
        words = F.embedding(batch.words, self.backbone.backbone.embedding.weight)  # (pairs, width)
        others = self.contexts(torch.cat([batch.contexts[:, None], batch.negatives], dim=1))
        scores = torch.bmm(others, words.unsqueeze(2)).squeeze(2)  # (pairs, 1 + negatives)
        drawn = F.softplus(scores[:, 1:]) * (batch.negatives != batch.contexts[:, None])
        total = F.softplus(-scores[:, 0]).sum() + drawn.sum()
        return Encoded({"skipgram": Term(total)}, {"word": first_of_rows(words.detach(), batch)})

    def watched(self, features: dict[str, Tensor]) -> Watched:
        """A word of each row."""
        return Watched(features["word"])


def first_of_rows(words: Tensor, batch: WordPairs) -> Tensor:
    """(rows, width): the first of the words of each row, zeros where it has none. words: (pairs, width)."""
    if not len(words):
        return words.new_zeros(len(batch), words.shape[1])
    rows = torch.arange(len(batch), device=words.device)
    first = torch.searchsorted(batch.rows, rows).clamp(max=len(words) - 1)
    return words[first] * (batch.rows[first] == rows).unsqueeze(1)
