"""How the samples of a step are dealt to micro-batches and ranks; it changes nothing in the mathematics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from textssl.batch import Batch, Texts, stack_texts
from textssl.sample_types import RowFormat, Views

SMALLEST_GROUP_TOKENS = 512  # below this a forward on a CPU costs more than the padding that a finer cut saves


def deal(count: int, world_size: int, rank: int, micro_batch_size: int | None) -> list[range]:
    """Contiguous shares of `count` samples: the places in the step of each micro-batch of this rank.

    Every rank gets the same number of micro-batches, the last ones possibly empty.
    """
    share = -(-count // world_size)
    micro = min(micro_batch_size or share, share)
    first, last = min(rank * share, count), min((rank + 1) * share, count)
    return [range(min(first + at, last), min(first + at + micro, last)) for at in range(0, share, micro)]


@dataclass(frozen=True)
class Limits:
    """What one micro-batch of texts may hold.

    texts: at most so many. tokens: at most so many places, padding included (one longer text is a micro-batch alone).
    slack: texts shorter than this share of the longest begin another micro-batch, once there is enough in this one;
    0 where nothing is padded.
    """

    texts: int | None = None
    tokens: int | None = None
    slack: float = 0.85


def deal_by_length(lengths: np.ndarray, world_size: int, rank: int, limits: Limits) -> list[np.ndarray]:
    """Texts of similar length together: the places in the step of each micro-batch of this rank.

    lengths: (texts,) tokens. Every rank gets the same number of micro-batches, of about as many tokens together; with
    fewer texts than ranks some are empty. A pure function, so every rank finds the same dealing.
    """
    order = np.argsort(-lengths, kind="stable")
    groups = [order[start:stop] for start, stop in cut(lengths[order], limits)]
    while len(groups) % world_size or not groups:
        groups = split_largest(groups, lengths)
    groups.sort(key=lambda group: -int(lengths[group].sum()))
    rounds = [groups[at : at + world_size] for at in range(0, len(groups), world_size)]
    return [same[rank if number % 2 == 0 else -1 - rank] for number, same in enumerate(rounds)]


def cut(lengths: np.ndarray, limits: Limits) -> list[tuple[int, int]]:
    """Bounds of runs of texts within the limits. lengths: (texts,) in falling order."""
    bounds, start = [], 0
    while start < len(lengths):
        longest = max(int(lengths[start]), 1)
        similar = int(np.searchsorted(-lengths, -limits.slack * longest, side="right"))
        stop = max(similar, start + -(-SMALLEST_GROUP_TOKENS // longest))
        if limits.tokens is not None:
            stop = min(stop, start + max(1, limits.tokens // longest))
        if limits.texts is not None:
            stop = min(stop, start + limits.texts)
        stop = min(stop, len(lengths))
        bounds.append((start, stop))
        start = stop
    return bounds


def split_largest(groups: list[np.ndarray], lengths: np.ndarray) -> list[np.ndarray]:
    """One group more: the one with most tokens in two halves, or an empty one where nothing can be split."""
    sizes = [int(lengths[group].sum()) if len(group) > 1 else 0 for group in groups]
    if not any(sizes):
        return [*groups, np.zeros(0, np.int64)]
    place = int(np.argmax(sizes))
    group = groups[place]
    half = int(np.searchsorted(np.cumsum(lengths[group]), sizes[place] / 2))
    half = min(max(half, 1), len(group) - 1)
    return [*groups[:place], group[:half], group[half:], *groups[place + 1 :]]


class Dealing(Protocol):
    """How the views of a step become the micro-batches of a rank."""

    def deal(self, views: Sequence[Any], world_size: int, rank: int, /) -> Sequence[Batch]: ...


@dataclass(frozen=True)
class TextDealing:
    """How the texts of a step are framed and dealt.

    form: the special tokens around a text. length: tokens at which a text is cut, special ones included. limits: of a
    micro-batch, its texts those of two views a sample. standalone: tokens of a piece of a document -> those of its text
    by itself (data.batches.standalone); None: they are that. together: all texts of a sample stay in one micro-batch,
    one after another.
    """

    form: RowFormat
    length: int
    limits: Limits
    standalone: Callable[[np.ndarray], np.ndarray] | None = None
    together: bool = False

    def deal(self, views: Sequence[Views], world_size: int, rank: int) -> list[Texts]:
        """The micro-batches of this rank, from the views of all samples of the step in their order."""
        num_views = len(views[0].texts)
        texts = [
            (sample * num_views + view, self.framed(ids), one.source, one.target)
            for sample, one in enumerate(views)
            for view, ids in enumerate(one.texts)
            if ids is not None
        ]
        lengths = np.array([len(ids) for _, ids, _, _ in texts], dtype=np.int64)
        if self.together:
            return self.deal_samples(texts, lengths, num_views, world_size, rank)
        dealt = deal_by_length(lengths, world_size, rank, self.limits)
        return [stack_texts([texts[number] for number in numbers]) for numbers in dealt]

    def deal_samples(
        self, texts: list[Any], lengths: np.ndarray, num_views: int, world_size: int, rank: int
    ) -> list[Texts]:
        """As `deal`, by the longest text of each sample."""
        samples = np.array([number // num_views for number, *_ in texts], dtype=np.int64)
        _, starts = np.unique(samples, return_index=True)
        texts_of = np.split(np.arange(len(texts)), starts[1:])
        limits = replace(
            self.limits,
            texts=None if self.limits.texts is None else max(1, self.limits.texts // 2),
            tokens=None if self.limits.tokens is None else max(1, self.limits.tokens // num_views),
        )
        dealt = deal_by_length(np.maximum.reduceat(lengths, starts), world_size, rank, limits)
        return [
            stack_texts([texts[number] for sample in sorted(group) for number in texts_of[sample]]) for group in dealt
        ]

    def framed(self, ids: np.ndarray) -> np.ndarray:
        if self.standalone is not None:  # twice the length, as space around a text does not count
            ids = self.standalone(ids[: 2 * self.length])
        return frame(ids, self.form, self.length)


def frame(ids: np.ndarray, form: RowFormat, length: int) -> np.ndarray:
    """A text with its special tokens, at most `length` in all."""
    ids = ids[: length - form.overhead]
    return np.concatenate([form.prefix, ids, form.suffix]).astype(np.int64) if form.overhead else ids
