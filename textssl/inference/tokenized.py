"""Texts -> token ids, read once: the ids, their numbers, and how many texts were cut; and rows padded for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textssl.errors import UserError

Read = tuple[list[np.ndarray], np.ndarray, int]  # ids of each text, (texts,) their numbers, texts that were cut


class TokenReader:
    """A transformers tokenizer that cuts at max_tokens (special tokens counted); it keeps that setting.

    Raises UserError where so few tokens leave no room for text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None) -> None:
        around = tokenizer.num_special_tokens_to_add()
        if max_tokens is not None and max_tokens <= around:
            raise UserError(
                f"max_tokens is {max_tokens}, but {around} special tokens stand around a text, which count too: "
                f"give {around + 1} or more"
            )
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None) if tokenizer.is_fast else None
        if self.backend is not None:
            self.backend.no_padding()
            if max_tokens is None:
                self.backend.no_truncation()
            else:
                self.backend.enable_truncation(max_tokens, direction=tokenizer.truncation_side)

    def read(self, texts: Sequence[str]) -> Read:
        if self.backend is not None:
            return fast_ids(self.backend, texts, add_special_tokens=True)
        cut = self.max_tokens is not None
        rows = self.tokenizer(list(texts), truncation=cut, max_length=self.max_tokens, verbose=False)["input_ids"]
        ids = [np.asarray(row, dtype=np.int64) for row in rows]  # type: ignore[union-attr]
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        # a slow tokenizer does not tell what it cut; a text of just that length counts too
        return ids, lengths, int(np.count_nonzero(lengths == self.max_tokens)) if cut else 0


def fast_ids(tokenizer: Tokenizer, texts: Sequence[str], *, add_special_tokens: bool) -> Read:
    """Ids by a fast tokenizer with the truncation that is set in it, without offsets, which nobody needs here."""
    encodings: list[Any] = tokenizer.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
    ids = [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    return ids, lengths, sum(bool(encoding.overflowing) for encoding in encodings)


def padded(rows: Sequence[np.ndarray], pad_id: int, left: bool = False) -> tuple[Tensor, Tensor]:
    """(rows, longest) int64 ids and mask, 1 where a token is, from the ids of each text."""
    length = max(map(len, rows))
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        span = slice(length - len(row), length) if left else slice(0, len(row))
        ids[place, span] = row
        mask[place, span] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)
