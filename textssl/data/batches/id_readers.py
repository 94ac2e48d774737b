"""Texts -> token ids by three readers that agree: transformers' own call, the tokenizers library, a fast engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, overload

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from textssl.tokenizer.engines import Engine

PROBES = ("a", "1", ".", "the")  # one of which has a token nearly everywhere


class Rows(Sequence[np.ndarray]):
    """Rows of different lengths in one array. flat: (tokens,); bounds: (rows + 1,) where each begins and ends in it."""

    def __init__(self, flat: np.ndarray, lengths: np.ndarray) -> None:
        self.flat, self.bounds = flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> Rows: ...
    def __getitem__(self, index: Any) -> Any:
        """A row, or rows one after another, without a copy."""
        if not isinstance(index, slice):
            place = index if index >= 0 else index + len(self)
            return self.flat[self.bounds[place] : self.bounds[place + 1]]
        start, stop, step = index.indices(len(self))
        assert step == 1 and start <= stop
        return Rows(self.flat[self.bounds[start] : self.bounds[stop]], np.diff(self.bounds[start : stop + 1]))


class Read(NamedTuple):
    """rows: (tokens,) int64 ids of each text. lengths: (texts,) int64. cut: number of texts that were truncated."""

    rows: Rows
    lengths: np.ndarray
    cut: int


class Frame(NamedTuple):
    """Ids of the special tokens before and after a text. plain: whether all its token types are 0."""

    before: list[int]
    after: list[int]
    plain: bool


class Reader(Protocol):
    def read(self, texts: Sequence[str]) -> Read: ...


class SlowReader:
    """A transformers tokenizer through its own call: the only way for tokenizers that are written in Python."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None, special_tokens: bool) -> None:
        self.tokenizer, self.max_tokens, self.special_tokens = tokenizer, max_tokens, special_tokens

    def read(self, texts: Sequence[str]) -> Read:
        options: Any = {"add_special_tokens": self.special_tokens, "verbose": False}
        if self.max_tokens is not None:
            options |= {"truncation": True, "max_length": self.max_tokens}
        rows: Any = self.tokenizer(list(texts), **options)["input_ids"]
        read = read_of([np.asarray(row, dtype=np.int64) for row in rows])
        # such a tokenizer does not report what it cut; a text of exactly max_tokens is counted too
        return read._replace(cut=int(np.count_nonzero(read.lengths == self.max_tokens)))


class LibraryReader:
    """The tokenizers library, without the offsets, which are not needed here.

    cuts: arguments of enable_truncation; None: texts are not cut. split_special: whether text that looks like a special
    token is encoded as text; None: as the tokenizer is set.
    """

    def __init__(
        self, backend: Tokenizer, cuts: dict[str, Any] | None, special_tokens: bool, split_special: bool | None = None
    ) -> None:
        self.backend, self.cuts, self.special_tokens = backend, cuts, special_tokens
        self.split_special: bool = backend.encode_special_tokens if split_special is None else split_special

    def set(self, cuts: dict[str, Any] | None) -> None:
        """Set the tokenizer for reading, anew each time: whoever shares it may have changed its settings."""
        self.backend.no_padding()
        self.backend.encode_special_tokens = self.split_special
        if cuts:
            self.backend.enable_truncation(**cuts)
        else:
            self.backend.no_truncation()

    def read(self, texts: Sequence[str]) -> Read:
        self.set(self.cuts)
        encodings: list[Any] = self.backend.encode_batch_fast(list(texts), add_special_tokens=self.special_tokens)
        read = read_of([np.array(encoding.ids, dtype=np.int64) for encoding in encodings])
        return read._replace(cut=sum(bool(encoding.overflowing) for encoding in encodings))

    def frame(self) -> Frame | None:
        """The special tokens around a text, read off a probe; None where no probe shows them."""
        if not self.special_tokens:
            return Frame([], [], True)
        self.set(None)
        probes = [
            [self.backend.encode(probe, add_special_tokens=special) for special in (False, True)] for probe in PROBES
        ]
        self.set(self.cuts)
        for bare, framed in probes:
            size = len(bare.ids)
            for start in range(len(framed.ids) - size + 1 if size else 0):
                if framed.ids[start : start + size] == bare.ids:
                    return Frame(framed.ids[:start], framed.ids[start + size :], not any(framed.type_ids))
        return None


class EngineReader:
    """The same by an engine. frame: put around each text. cuts: max_length, frame included, and direction; or None."""

    def __init__(self, engine: Engine, frame: Frame, cuts: dict[str, Any] | None) -> None:
        self.engine, self.frame = engine, frame
        self.around = len(frame.before) + len(frame.after)
        self.room = cuts["max_length"] - self.around if cuts else None
        self.cuts_left = cuts is not None and cuts["direction"] == "left"

    def read(self, texts: Sequence[str]) -> Read:
        ids, lengths = self.engine.encode(list(texts))
        kept = lengths if self.room is None else np.minimum(lengths, self.room)
        cut = int(np.count_nonzero(kept < lengths))
        if cut:
            starts = np.cumsum(lengths) - lengths
            ids = ids[spans(starts + (lengths - kept if self.cuts_left else 0), kept)]
        if not self.around:
            return Read(Rows(ids.astype(np.int64), kept), kept, cut)
        framed = kept + self.around
        starts = np.cumsum(framed) - framed
        flat = np.empty(int(framed.sum()), dtype=np.int64)
        flat[spans(starts + len(self.frame.before), kept)] = ids
        for place, token in enumerate(self.frame.before):
            flat[starts + place] = token
        for place, token in enumerate(self.frame.after):
            flat[starts + len(self.frame.before) + kept + place] = token
        return Read(Rows(flat, framed), framed, cut)


def spans(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers start, start + 1, ... of each span, one span after another, (sum of lengths,)."""
    shift = starts - (np.cumsum(lengths) - lengths)
    return np.repeat(shift, lengths) + np.arange(int(lengths.sum()))


def read_of(rows: list[np.ndarray]) -> Read:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    return Read(Rows(np.concatenate(rows) if rows else np.zeros(0, np.int64), lengths), lengths, 0)
