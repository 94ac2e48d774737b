"""Batches of rows that are read in a way of their own, each for one objective."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from textssl.batch import Batch, Rows


@dataclass
class HybridRows(Batch):
    """Rows that are read in two ways: from both sides with tokens hidden, and from left to right in full."""

    masked: Rows
    causal: Rows
    samples: Tensor

    @property
    def tokens(self) -> int:
        return self.masked.tokens + self.causal.tokens

    @property
    def padded_tokens(self) -> int:
        return self.masked.padded_tokens + self.causal.padded_tokens


@dataclass
class WordRows(Batch):
    """Words of rows that predict each other, and words drawn against them.

    ids: (rows, words) int64. seen: (rows, words, 2 * window) bool, which of the words around it a word predicts.
    negatives: (rows, drawn) int64. samples: (rows,). pairs: how many are predicted. row_tokens: non-padding tokens in
    the rows.
    """

    ids: Tensor
    seen: Tensor
    negatives: Tensor
    samples: Tensor
    pairs: int = 0
    row_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.row_tokens

    @property
    def padded_tokens(self) -> int:
        return self.row_tokens
