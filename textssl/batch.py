"""The types that the data floor makes and objectives read: samples (numpy, one each) and batches (torch, many)."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

IGNORE = -100  # label of a position that is not predicted, as in torch's cross entropy
WORD_START, SENTENCE_START = 1, 2  # bits of a token's mark


@dataclass(frozen=True)
class RowFormat:
    """The special tokens that an objective wants around text.

    prefix, suffix: ids around every piece of a document. end: ids that follow the last token of a document, and are
    predicted like text.
    """

    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    pad: int = 0

    @property
    def overhead(self) -> int:
        """Special tokens of one piece."""
        return len(self.prefix) + len(self.suffix)


@dataclass
class Row:
    """One packed row, before and after an objective corrupts it; every array is (length,).

    ids, documents, positions: as in Rows. marks: uint8, WORD_START and SENTENCE_START.
    special: bool, prefix, suffix and padding. labels: set by the objective.
    """

    ids: np.ndarray
    documents: np.ndarray
    positions: np.ndarray
    marks: np.ndarray
    special: np.ndarray
    labels: np.ndarray | None = None


@dataclass
class Document:
    """One tokenized document without special tokens: ids (tokens,) int64 and marks (tokens,) uint8."""

    ids: np.ndarray
    marks: np.ndarray


class Batch:
    """What every batch can do; subclasses are dataclasses whose fields are tensors with one entry a sample."""

    samples: Tensor  # (samples,) place of each sample in the global step

    def to(self, device: torch.device | str):
        """The same batch on another device (without waiting for the copy)."""
        moved = {f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}  # type: ignore[arg-type]
        return replace(self, **moved)  # type: ignore[type-var]

    def pin_memory(self):
        """Page-locked copies, which torch's loader asks for when a GPU waits at the other end."""
        return replace(self, **{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})  # type: ignore[arg-type, type-var]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def tokens(self) -> int:
        """Non-padding tokens."""
        raise NotImplementedError


@dataclass
class Rows(Batch):
    """Packed rows of one or more documents each.

    ids: (rows, length) int64, what the model is shown.
    documents: (rows, length) int32, 1 for the first document of a row, 2 for the second, ...; 0 is padding.
    positions: (rows, length) int64, counted from 0 in each document.
    labels: (rows, length) int64, the token to predict at a position, or IGNORE.
    samples: (rows,) int64, place of the row in the global step.
    """

    ids: Tensor
    documents: Tensor
    positions: Tensor
    labels: Tensor
    samples: Tensor

    @property
    def tokens(self) -> int:
        return int((self.documents > 0).sum())


@dataclass
class Texts(Batch):
    """Padded texts, one a row.

    ids: (texts, length) int64. mask: (texts, length) bool, False on padding. samples: (texts,) int64.
    """

    ids: Tensor
    mask: Tensor
    samples: Tensor

    @property
    def tokens(self) -> int:
        return int(self.mask.sum())


def empty_like(batch: Batch) -> Batch:
    """A batch of no samples with the shapes of another (a rank that has nothing left in a micro-batch)."""
    return replace(batch, **{f.name: torch.empty_like(getattr(batch, f.name)[:0]) for f in fields(batch)})  # type: ignore[arg-type, type-var]


@dataclass(frozen=True)
class Vocabulary:
    """What objectives need to know of a tokenizer: its size and the ids of its special tokens (None: it has none)."""

    size: int
    pad: int
    special: tuple[int, ...]
    mask: int | None = None
    cls: int | None = None
    sep: int | None = None
    bos: int | None = None
    eos: int | None = None

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Read off a transformers tokenizer; a decoder without a padding token is padded with its end token."""
        ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "cls", "sep", "bos", "eos")}
        pad = tokenizer.pad_token_id
        if pad is None:
            pad = ids["eos"] if ids["eos"] is not None else 0
        return cls(size=len(tokenizer), pad=pad, special=tuple(sorted(tokenizer.all_special_ids)), **ids)
