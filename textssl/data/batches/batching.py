"""How the samples of a step are dealt to micro-batches and ranks, which leaves losses and gradients the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from textssl.batch import Batch, Texts, stack_texts
from textssl.sample_types import RowFormat, Views

SMALLEST_GROUP_TOKENS = 512  # below this a forward on a CPU costs more than the padding that a finer cut saves


def deal(count: int, world_size: int, rank: int, micro_batch_size: int | None) -> list[range]:
    """This rank's share of `count` samples, cut into micro-batches: for each the places of its samples in the step.

    Every rank gets the same number of micro-batches, the last ones possibly empty.
    """
    most, own = -(-count // world_size), own_share(count, world_size, rank)
    micro = min(micro_batch_size or most, most)
    return [own[at : at + micro] for at in range(0, most, micro)]


def own_share(count: int, world_size: int, rank: int) -> range:
    """Places of this rank's samples among the `count` of a step: consecutive, as many a rank until they run out."""
    most = -(-count // world_size)
    return range(min(rank * most, count), min((rank + 1) * most, count))


@dataclass(frozen=True)
class Limits:
    """What one micro-batch of texts may hold.

    texts: their maximum number. tokens: the maximum with padding included (a longer text is a micro-batch by itself).
    slack: texts shorter than this share of the longest begin another micro-batch, once this one holds about
    SMALLEST_GROUP_TOKENS; 0 where nothing is padded.
    """

    texts: int | None = None
    tokens: int | None = None
    slack: float = 0.85


def deal_by_length(lengths: np.ndarray, limits: Limits) -> list[np.ndarray]:
    """Indices of the texts in each micro-batch, similar lengths together; the one with the most tokens comes first.

    lengths: (texts,) tokens. There is at least one micro-batch, which is empty if there are no texts.
    """
    order = np.argsort(-lengths, kind="stable")
    groups = [order[start:stop] for start, stop in cut(lengths[order], limits)]
    return sorted(groups, key=lambda group: -int(lengths[group].sum())) or [order]


def cut(lengths: np.ndarray, limits: Limits) -> list[tuple[int, int]]:
    """Bounds of runs of texts within the limits. lengths: (texts,) in descending order."""
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


class Dealing(Protocol):
    """How the views of a rank become its micro-batches, whose number may differ from rank to rank.

    first: the place in the step of the first of these samples.
    """

    def deal(self, views: Sequence[Any], first: int, /) -> Sequence[Batch]: ...


@dataclass(frozen=True)
class TextDealing:
    """How the texts of a rank are framed and dealt.

    form: the special tokens around a text. length: tokens at which a text is cut, special ones included. limits: of a
    micro-batch; with `together`, a sample counts as two texts. standalone: tokens of pieces of documents ->
    those of their texts by themselves (data.batches.standalone); None: they are the same. together: all texts of a
    sample stay in one micro-batch, one after another.
    """

    form: RowFormat
    length: int
    limits: Limits
    standalone: Callable[[list[np.ndarray]], list[np.ndarray]] | None = None
    together: bool = False

    def deal(self, views: Sequence[Views], first: int = 0) -> list[Texts]:
        """The micro-batches of the views of this rank's samples, in order. first: the first one's place in the step."""
        num_views = len(views[0].texts) if views else 1
        texts = self.framed([ids for one in views for ids in one.texts if ids is not None])
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        there = np.array([[ids is not None for ids in one.texts] for one in views], bool).reshape(-1, num_views)
        places, sample = there.ravel().nonzero()[0], there.nonzero()[0]
        sources = np.array([one.source for one in views], np.int64)[sample]
        targets = np.array([one.target for one in views], np.float64)[sample]
        dealt = self.deal_samples(lengths, sample, num_views) if self.together else deal_by_length(lengths, self.limits)
        return [
            stack_texts(
                places[group] + first * num_views, [texts[number] for number in group], sources[group], targets[group]
            )
            for group in map(np.sort, dealt)
        ]

    def deal_samples(self, lengths: np.ndarray, sample: np.ndarray, num_views: int) -> list[np.ndarray]:
        """As `deal_by_length`, but with the texts of a sample kept together; a sample counts by its longest text.

        sample: (texts,) number of each one's sample, ascending.
        """
        _, starts = np.unique(sample, return_index=True)
        limits = replace(
            self.limits,
            texts=None if self.limits.texts is None else max(1, self.limits.texts // 2),
            tokens=None if self.limits.tokens is None else max(1, self.limits.tokens // num_views),
        )
        if not len(starts):
            return [sample]
        texts_of = np.split(np.arange(len(lengths)), starts[1:])
        dealt = deal_by_length(np.maximum.reduceat(lengths, starts), limits)
        return [np.concatenate([texts_of[number] for number in group]) for group in dealt]

    def framed(self, texts: list[np.ndarray]) -> list[np.ndarray]:
        """Each text as the model reads it."""
        if self.standalone is not None:  # twice the length, as whitespace around a text is dropped
            texts = self.standalone([ids if len(ids) <= self.length else ids[: 2 * self.length] for ids in texts])
        if not self.form.overhead:
            return [ids if len(ids) <= self.length else ids[: self.length] for ids in texts]
        return [frame(ids, self.form, self.length) for ids in texts]


def frame(ids: np.ndarray, form: RowFormat, length: int) -> np.ndarray:
    """A text with its special tokens, at most `length` in all."""
    return np.concatenate([form.prefix, ids[: length - form.overhead], form.suffix]).astype(np.int64)
