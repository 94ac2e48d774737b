"""The types that the data floor makes and objectives read: samples (numpy, one each) and batches (torch, many)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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


@dataclass
class Adjacent:
    """Two sentences of a document, one right after the other."""

    left: Document
    right: Document


@dataclass
class Pair:
    """A given pair of texts, their ids without special tokens, and what is known of it.

    negatives: texts that are no match for the first. target: a class number, or a score; None where there is neither.
    source: equal for pairs that must not repel each other (of one class); None: that of the first text.
    """

    left: np.ndarray
    right: np.ndarray
    negatives: list[np.ndarray]
    target: float | None = None
    source: int | None = None


@dataclass(frozen=True)
class PairFacts:
    """What all pairs of a file have. classes: their labels, sorted; empty where there are none. scored: have scores."""

    num_negatives: int = 0
    classes: tuple[str, ...] = ()
    scored: bool = False


@dataclass
class Views:
    """What an objective shows of one sample: texts to be embedded, in a fixed order.

    texts: ids (tokens,) int64 of each, special tokens included; None leaves a place empty (a pair without a negative).
    source: a number that is equal for samples of equal content, which then never repel each other.
    target: a class number or a score, where the sample has one.
    """

    texts: list[np.ndarray | None]
    source: int
    target: float = float("nan")


class Batch:
    """What every batch can do; subclasses are dataclasses whose fields are tensors with one entry a sample."""

    samples: Tensor  # (samples,) place of each sample (of texts: of each text) in the global step

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

    @property
    def places(self) -> int:
        """Places of the rectangle that holds the tokens, padding included."""
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

    @property
    def places(self) -> int:
        return self.ids.numel()


@dataclass
class Ragged(Batch):
    """Texts of any length, one after another without padding.

    ids: (tokens,) int64. lengths: (texts,) int64, tokens of each. samples: (texts,) int64, the place of the text in the
    global step. targets: (texts,) float64, a class number or score, NaN where there is none.
    """

    ids: Tensor
    lengths: Tensor
    samples: Tensor
    targets: Tensor

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def places(self) -> int:
        return len(self) * int(self.lengths.max()) if len(self) else 0

    @property
    def mask(self) -> Tensor:
        """(texts, longest) bool, True on tokens."""
        longest = int(self.lengths.max()) if len(self) else 0
        return torch.arange(longest, device=self.lengths.device) < self.lengths.unsqueeze(1)

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


@dataclass
class Example:
    """One labelled text, or pair of texts, as a classifier reads it.

    ids, types: (tokens,) int64, special tokens included; types are 1 on the second text of a pair. target: class number
    or score.
    """

    ids: np.ndarray
    types: np.ndarray
    target: float


@dataclass
class Examples(Ragged):
    """Labelled texts. types: (tokens,) int64, as in Example."""

    types: Tensor


@dataclass(frozen=True)
class LabelFacts:
    """What a classifier is to learn: classes with the training examples of each, or (no classes) scores.

    mean, deviation: of the training scores.
    """

    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0


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


def stack_texts(texts: Sequence[tuple[int, np.ndarray, int, float]]) -> Texts:
    """(place in the step, ids, source, target) of each text as a batch; there may be none."""
    places, ids, sources, targets = zip(*texts, strict=True) if texts else ((), (), (), ())
    return Texts(
        ids=torch.from_numpy(np.concatenate(ids) if ids else np.zeros(0, np.int64)),
        lengths=torch.tensor([len(one) for one in ids], dtype=torch.int64),
        samples=torch.tensor(places, dtype=torch.int64),
        text=torch.tensor([content_key(one) for one in ids], dtype=torch.int64),
        source=torch.tensor(sources, dtype=torch.int64),
        targets=torch.tensor(targets, dtype=torch.float64),
    )


def content_key(ids: np.ndarray) -> int:
    """A number below 2^63 that is the same for the same ids, and in all likelihood for no others."""
    return int.from_bytes(hashlib.blake2b(ids.tobytes(), digest_size=8).digest(), "big") >> 1


@dataclass
class Part(Batch):
    """A micro-batch of one part of a mixture of objectives. name: the part's."""

    name: str
    batch: Any

    def to(self, device: torch.device | str) -> Part:
        return Part(self.name, self.batch.to(device))

    def pin_memory(self) -> Part:
        return Part(self.name, self.batch.pin_memory())

    def __len__(self) -> int:
        return len(self.batch)

    @property
    def samples(self) -> Tensor:  # type: ignore[override]
        return self.batch.samples

    @property
    def tokens(self) -> int:
        return self.batch.tokens

    @property
    def places(self) -> int:
        return self.batch.places


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
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Read off a transformers tokenizer.

        prefix, suffix: what the tokenizer puts around a single text.
        """
        ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "cls", "sep", "bos", "eos")}
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        framed = tokenizer("a")["input_ids"]
        first = next(at for at in range(len(framed)) if framed[at : at + len(bare)] == bare)
        prefix, suffix = tuple(framed[:first]), tuple(framed[first + len(bare) :])
        special = tuple(sorted(tokenizer.all_special_ids))
        return cls(size=len(tokenizer), pad=padding_id(tokenizer), special=special, prefix=prefix, suffix=suffix, **ids)


def padding_id(tokenizer: Any) -> int:
    """What fills a text up: the padding token, else the end token (many decoders have no other), else token 0."""
    if tokenizer.pad_token_id is not None:
        return tokenizer.pad_token_id
    return tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
