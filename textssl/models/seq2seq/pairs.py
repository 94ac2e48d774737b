"""Batches of an encoder-decoder: packed rows that are read, and packed rows that are written from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textssl.batch import Batch, Rows
from textssl.sample_types import IGNORE, Denoised, Row


@dataclass
class RowPairs(Batch):
    """Rows that an encoder reads, and rows that a decoder writes from them.

    source, target: documents have the same numbers in both; the ids of the target are those before each label.
    samples: (rows,) int64, place of the row in the global step. text_tokens, cut_tokens: (rows,) int64, as in Denoised.
    """

    source: Rows
    target: Rows
    samples: Tensor
    text_tokens: Tensor
    cut_tokens: Tensor

    @property
    def tokens(self) -> int:
        return self.source.tokens + self.target.tokens

    @property
    def padded_tokens(self) -> int:
        return self.source.padded_tokens + self.target.padded_tokens


def stack_row_pairs(views: Sequence[Denoised], samples: Sequence[int], pad: int) -> RowPairs:
    """Corrupted rows as a batch, padded at their ends to the longest source and the longest target."""
    return RowPairs(
        source=padded_rows([view.source for view in views], samples, pad),
        target=padded_rows([view.target for view in views], samples, pad),
        samples=torch.tensor(samples, dtype=torch.int64),
        text_tokens=torch.tensor([view.text_tokens for view in views], dtype=torch.int64),
        cut_tokens=torch.tensor([view.cut_tokens for view in views], dtype=torch.int64),
    )


def padded_rows(rows: Sequence[Row], samples: Sequence[int], pad: int) -> Rows:
    """Rows of any length as a batch."""
    longest = max(1, *(len(row.ids) for row in rows))  # a row may be padding alone

    def stacked(values: Sequence[Any], fill: int) -> Tensor:
        wide = [np.pad(value, (0, longest - len(value)), constant_values=fill) for value in values]
        return torch.from_numpy(np.stack(wide))

    return Rows(
        ids=stacked([row.ids for row in rows], pad),
        documents=stacked([row.documents for row in rows], 0),
        positions=stacked([row.positions for row in rows], 0),
        labels=stacked([row.labels for row in rows], IGNORE),
        samples=torch.tensor(samples, dtype=torch.int64),
    )
