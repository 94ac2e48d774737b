"""Batches: what a forward reads, many samples as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textssl.sample_types import IGNORE, Example, content_keys


class Batch:
    """What every batch can do; subclasses are dataclasses of tensors, over rows, texts or tokens.

    What a forward has to know as a Python number (how long, how many) is a field too, made with the batch on the CPU:
    read off a tensor on a GPU, it would make the host wait for all that the GPU still has to do.
    """

    samples: Tensor  # (samples,) place of each sample (of texts: of each text) in the global step

    def to(self, device: torch.device | str):
        """The same batch on another device (without waiting for the copy)."""
        return map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self):
        """Page-locked copies, which torch's loader asks for when a GPU waits at the other end."""
        return map_tensors(self, lambda tensor: tensor.pin_memory())

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def tokens(self) -> int:
        """Non-padding tokens."""
        raise NotImplementedError

    @property
    def padded_tokens(self) -> int:
        """Positions of the rectangle that holds the tokens, padding included."""
        raise NotImplementedError


def map_tensors(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same dataclass with every tensor in it changed, those of a dataclass inside it too."""
    changed = {}
    for entry in fields(batch):
        value = getattr(batch, entry.name)
        if isinstance(value, Tensor):
            changed[entry.name] = change(value)
        elif is_dataclass(value):
            changed[entry.name] = map_tensors(value, change)
    return replace(batch, **changed)


@dataclass(frozen=True)
class RowFacts:
    """What follows from the other fields of Rows.

    predicted: (items,) int64, places in the flattened rows that have a label. starts: (pieces + 1,) int32, where each
    document, or run of padding, starts in the flattened rows; last, their end. tokens: non-padding tokens. whole: every
    row is one document without padding.
    """

    predicted: Tensor
    starts: Tensor
    tokens: int
    whole: bool

    @classmethod
    def of(cls, documents: Tensor, labels: Tensor) -> RowFacts:
        """documents, labels: (rows, length), as in Rows; on a GPU the host waits for it."""
        return cls(
            predicted=(labels.flatten() != IGNORE).nonzero().flatten(),
            starts=document_starts(documents),
            tokens=int((documents > 0).sum()),
            whole=bool((documents == 1).all()),
        )


def document_starts(documents: Tensor) -> Tensor:
    """(pieces + 1,) int32: where each document, or run of padding, starts in the flattened rows; last, their end."""
    rows, length = documents.shape
    first = torch.ones(rows, length, dtype=torch.bool, device=documents.device)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return F.pad(first.flatten().nonzero().flatten(), (0, 1), value=rows * length).to(torch.int32)


@dataclass
class Rows(Batch):
    """Packed rows of one or more documents each.

    ids: (rows, length) int64, what the model is shown.
    documents: (rows, length) int32, 1 for the first document of a row, 2 for the second, ...; 0 is padding.
    positions: (rows, length) int64, counted from 0 in each document.
    labels: (rows, length) int64, the token to predict at a position, or IGNORE.
    samples: (rows,) int64, place of the row in the global step.
    facts: read off the others where the batch is made.
    """

    ids: Tensor
    documents: Tensor
    positions: Tensor
    labels: Tensor
    samples: Tensor
    facts: RowFacts = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.facts is None:
            self.facts = RowFacts.of(self.documents, self.labels)

    @property
    def tokens(self) -> int:
        return self.facts.tokens

    @property
    def padded_tokens(self) -> int:
        return self.ids.numel()


@dataclass
class NumberedRows(Rows):
    """Rows with a number for each position, whose meaning is the objective's: numbers (rows, length) float32."""

    numbers: Tensor = field(kw_only=True)


@dataclass
class Ragged(Batch):
    """Texts of any length, one after another without padding.

    ids: (tokens,) int64. lengths: (texts,) int64, tokens of each. samples: (texts,) int64, the place of the text in the
    global step. targets: (texts,) float64, a class number or score, NaN where there is none. longest: tokens of the
    longest text, read off the lengths where the batch is made.
    """

    ids: Tensor
    lengths: Tensor
    samples: Tensor
    targets: Tensor
    longest: int = field(default=-1, kw_only=True)

    def __post_init__(self) -> None:
        if self.longest < 0:
            self.longest = int(self.lengths.max()) if len(self) else 0

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def padded_tokens(self) -> int:
        return len(self) * self.longest

    @property
    def mask(self) -> Tensor:
        """(texts, longest) bool, True on tokens."""
        return torch.arange(self.longest, device=self.lengths.device) < self.lengths.unsqueeze(1)

    def padded(self, pad: int, values: Tensor | None = None) -> Tensor:
        """(texts, longest) the ids, or other int64 values of the tokens, padded at the end."""
        mask, values = self.mask, self.ids if values is None else values
        return torch.full(mask.shape, pad, dtype=values.dtype, device=values.device).masked_scatter_(mask, values)


@dataclass
class Texts(Ragged):
    """Views of samples, to be embedded.

    samples: sample * views + view. text, source: (texts,) int64, equal for equal texts, and for texts of samples of
    equal content.
    """

    text: Tensor
    source: Tensor

    def as_rows(self, pad: int) -> Rows:
        """Each text as a row of one document, padded at its end; the host waits for nothing."""
        ids, mask = self.padded(pad), self.mask
        rows, length = mask.shape
        begin = torch.arange(rows, device=ids.device) * length
        pieces = torch.stack([begin, begin + self.lengths], dim=1).flatten()  # a text, then its padding, maybe none
        facts = RowFacts(
            predicted=pieces[:0],
            starts=F.pad(pieces, (0, 1), value=rows * length).to(torch.int32),
            tokens=self.tokens,
            whole=self.tokens == self.padded_tokens,
        )
        positions = torch.arange(length, device=ids.device).expand(rows, length)
        return Rows(ids, mask.int(), positions, torch.full_like(ids, IGNORE), begin // max(length, 1), facts)


@dataclass
class Examples(Ragged):
    """Labelled texts. types: (tokens,) int64, as in Example."""

    types: Tensor


def stack_examples(places: Sequence[int], examples: Sequence[Example]) -> Examples:
    """Examples and their places in the step as a batch; there may be none."""
    empty = np.zeros(0, np.int64)
    return Examples(
        ids=torch.from_numpy(np.concatenate([one.ids for one in examples] or [empty])),
        lengths=torch.tensor([len(one.ids) for one in examples], dtype=torch.int64),
        samples=torch.tensor(places, dtype=torch.int64),
        targets=torch.tensor([one.target for one in examples], dtype=torch.float64),
        types=torch.from_numpy(np.concatenate([one.types for one in examples] or [empty])),
    )


def stack_texts(
    places: Sequence[int] | np.ndarray,
    texts: Sequence[np.ndarray],
    sources: Sequence[int] | np.ndarray,
    targets: Sequence[float] | np.ndarray,
) -> Texts:
    """Texts as a batch: of each its place in the step, ids, source and target; there may be none."""
    ids = np.concatenate([np.zeros(0, np.int64), *texts])
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    return Texts(
        ids=torch.from_numpy(ids),
        lengths=torch.from_numpy(lengths),
        samples=torch.from_numpy(np.array(places, np.int64)),
        text=torch.from_numpy(content_keys(ids, lengths)),
        source=torch.from_numpy(np.array(sources, np.int64)),
        targets=torch.from_numpy(np.array(targets, np.float64)),
    )


@dataclass
class Part(Batch):
    """A micro-batch of one part of a mixture of objectives. name: the part's."""

    name: str
    batch: Any

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def samples(self) -> Tensor:  # type: ignore[override]
        return self.batch.samples

    @property
    def tokens(self) -> int:
        return self.batch.tokens

    @property
    def padded_tokens(self) -> int:
        return self.batch.padded_tokens


def empty_like(batch: Batch) -> Any:
    """A batch of no samples with the shapes of another (a rank that has nothing left in a micro-batch)."""
    if isinstance(batch, Part):
        return Part(batch.name, empty_like(batch.batch))
    emptied = {}
    for entry in fields(batch):  # type: ignore[arg-type]
        value = getattr(batch, entry.name)
        if entry.default is not MISSING:  # it follows from the others
            emptied[entry.name] = entry.default
        else:
            emptied[entry.name] = empty_like(value) if isinstance(value, Batch) else torch.empty_like(value[:0])
    return replace(batch, **emptied)  # type: ignore[type-var]
