"""Which samples make a global step: a pure function of (corpora, seed, step).

The samples of a corpus are counted block by block from corpus.json alone. An epoch visits the blocks in the order of a
keyed bijection; a window of neighbouring blocks in that order is shuffled and packed together. So a sample is found by
one look-up in the epoch's running count, memory grows with the number of blocks (about MAX_BLOCKS at most: beyond that
neighbours are merged) and never with that of documents, and nothing of the order is ever stored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np

from textssl.data.corpus.corpus import Blocks, Corpus
from textssl.data.keyed_random import MIXTURE, SAMPLE, WINDOW, bijection, generator, philox, shuffled
from textssl.data.plan.many_documents import StepDocuments
from textssl.data.plan.packing import pack, rows_needed
from textssl.data.plan.windows import (
    LONGEST_DOCUMENT_TOKENS,
    AdjacentWindow,
    Documents,
    DocumentWindow,
    RowWindow,
    Window,
    sentences_of,
)
from textssl.errors import UserError
from textssl.sample_types import Adjacent, Document, Row, RowFormat

MAX_BLOCKS = 2**18
REMEMBERED_SOURCES = 2**17  # documents
MIXTURE_CYCLE = 1024  # samples over which the shares of a mixture are exact (to one sample)
SAMPLE_KINDS = ("rows", "documents", "sentences", "adjacent")


class Order(Protocol):
    """All samples of a training run in order, without end, and the random numbers of each."""

    def __len__(self) -> int:
        """Samples of one epoch."""
        ...

    def sample(self, index: int, /) -> object: ...

    def rng(self, index: int, /) -> np.random.Generator: ...


@dataclass(frozen=True)
class Place:
    """Where a sample comes from: corpus of the mixture, epoch of that corpus, index within the epoch."""

    corpus: int
    epoch: int
    index: int


class Plan:
    """All samples of a training run in order, `plan.sample(0)`, `plan.sample(1)`, ... without end.

    corpora: prepared corpora and their weights. kind: what a sample is: packed "rows", "documents", "sentences", or
    "adjacent", each sentence with the next of its document. length: places of a row, or of a text, special tokens
    included; up to twice as many tokens are read of a sentence. Of a document longer than LONGEST_DOCUMENT_TOKENS (or
    four lengths, if that is more) an excerpt of that length is read, another one in every epoch. form: the special
    tokens of a row. window_tokens: tokens shuffled and packed together. Raises UserError where a length leaves no room
    for text, a corpus has no such sample, or a weight is too small.
    """

    def __init__(
        self,
        corpora: Sequence[tuple[Corpus, float]],
        *,
        kind: str,
        length: int,
        form: RowFormat,
        seed: int,
        window_tokens: int = 2**22,
    ):
        assert kind in SAMPLE_KINDS and len(form.end) <= 1
        if length <= form.overhead:
            raise UserError(f"data.sequence_length {length} leaves no room beside {form.overhead} special tokens")
        self.seed = seed
        self.epochs = [
            EpochPlan(corpus, place, kind, length, form, seed, window_tokens)
            for place, (corpus, _) in enumerate(corpora)
        ]
        self.mixture = Mixture([weight for _, weight in corpora], seed)
        self.place = lru_cache(maxsize=1)(self.place)  # a sample and its generator are asked for together
        self.sources: dict[tuple[Hashable, int], int] = {}

    def __len__(self) -> int:
        """Samples of one epoch of all corpora together."""
        return sum(len(epoch) for epoch in self.epochs)

    def place(self, index: int) -> Place:
        corpus, nth = self.mixture.locate(index)
        return Place(corpus, *divmod(nth, len(self.epochs[corpus])))

    def sample(self, index: int) -> Row | Document | Adjacent:
        """The sample at a place of the run's order."""
        place = self.place(index)
        return self.epochs[place.corpus].sample(place.epoch, place.index)

    def rng(self, index: int) -> np.random.Generator:
        """The sample's own generator, for masks and crops; the same on every rank and worker, independent of others."""
        place = self.place(index)
        return generator(self.seed, SAMPLE, place.index, place.epoch, place.corpus)

    def many(self, indices: Sequence[int]) -> StepDocuments:
        """The samples at these places of the run's order, and their random numbers, as arrays; only documents."""
        corpora, nth = np.array([self.mixture.locate(index) for index in indices], np.int64).reshape(-1, 2).T
        epochs, within = np.divmod(nth, np.array([len(epoch) for epoch in self.epochs])[corpora])
        held = np.empty((4, len(corpora)), np.int64)  # shard, first token, length, opening
        for corpus, epoch in np.unique(np.stack([corpora, epochs], axis=1), axis=0).tolist():
            mine = np.flatnonzero((corpora == corpus) & (epochs == epoch))
            for window, those, places in self.epochs[corpus].find_many(epoch, within[mine]):
                assert isinstance(window, DocumentWindow)
                held[:, mine[those]] = window.where(places)
        numbers, first, lengths, openings = held
        names, shard = np.unique(np.stack([corpora, numbers], axis=1), axis=0, return_inverse=True)
        if len(self.sources) > REMEMBERED_SOURCES:
            self.sources.clear()
        return StepDocuments(
            shards=[self.epochs[corpus].corpus.shard(number) for corpus, number in names.tolist()],
            names=[tuple(name) for name in names.tolist()],
            shard=shard.ravel(),
            first=first,
            lengths=lengths,
            openings=openings,
            ids=np.stack([within, epochs, corpora], axis=1),
            seed=self.seed,
            known=self.sources,
            one=lambda number: (self.sample(indices[number]), self.rng(indices[number])),
        )


class EpochPlan:
    """The samples of one corpus, epoch by epoch."""

    def __init__(
        self, corpus: Corpus, number: int, kind: str, length: int, form: RowFormat, seed: int, window_tokens: int
    ):
        self.corpus, self.number, self.seed = corpus, number, seed
        self.kind, self.length, self.form = kind, length, form
        self.blocks = merge_blocks(corpus.blocks, MAX_BLOCKS)
        blocks = self.blocks
        if kind == "rows":
            content = blocks.tokens + len(form.end) * blocks.documents
            self.counts = rows_needed(content, blocks.documents, length, form.overhead)
        else:
            of_kind = {"documents": blocks.documents, "sentences": blocks.sentences}
            self.counts = of_kind[kind] if kind in of_kind else blocks.sentences - blocks.documents
        self.total = int(self.counts.sum())
        if self.total == 0:
            missing = "two sentences in one document" if kind == "adjacent" else kind
            raise UserError(f"the corpus {corpus.path} holds no {missing}")
        self.window_blocks = max(1, int(window_tokens * len(blocks) // max(int(blocks.tokens.sum()), 1)))
        self._order = lru_cache(maxsize=2)(self._order)
        self._window = lru_cache(maxsize=2)(self._window)

    def __len__(self) -> int:
        return self.total

    def sample(self, epoch: int, index: int) -> Row | Document | Adjacent:
        window, within = self.find(epoch, index)
        return window.sample(within)

    def find(self, epoch: int, index: int) -> tuple[Window, int]:
        """The window that holds a sample, and its number there."""
        _, ends = self._order(epoch)
        number = bisect_right(ends, index)
        return self._window(epoch, number), index - int(ends[number - 1] if number else 0)

    def find_many(self, epoch: int, indices: np.ndarray) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
        """Each window that holds some of these samples, which of them, and their numbers there."""
        _, ends = self._order(epoch)
        windows = np.searchsorted(ends, indices, side="right")
        for number in np.unique(windows).tolist():
            those = np.flatnonzero(windows == number)
            yield self._window(epoch, number), those, indices[those] - (ends[number - 1] if number else 0)

    def _order(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The blocks in this epoch's order, and the samples up to the end of each window."""
        count = len(self.blocks)
        order = bijection(np.arange(count), count, self.seed, epoch, self.number)
        running = np.cumsum(self.counts[order])
        last = np.minimum(np.arange(self.window_blocks, count + self.window_blocks, self.window_blocks), count) - 1
        return order, running[last]

    def _window(self, epoch: int, window: int) -> Window:
        order, _ = self._order(epoch)
        chosen = order[window * self.window_blocks : (window + 1) * self.window_blocks]
        stream = philox(self.seed, WINDOW, window, epoch, self.number)
        documents = Documents.of_blocks(self.corpus, self.blocks, chosen)
        if self.kind == "adjacent":
            pairs = AdjacentWindow.of_documents(self.corpus, documents, 2 * self.length)
            return pairs.take(shuffled(len(pairs), stream))
        if self.kind == "sentences":
            documents = sentences_of(self.corpus, documents).opening(2 * self.length)
        documents = documents.take(shuffled(len(documents), stream))
        if self.kind == "sentences":
            return DocumentWindow(self.corpus, documents)
        if self.kind == "documents":
            excerpts = documents.excerpts(max(LONGEST_DOCUMENT_TOKENS, 4 * self.length), stream)
            return DocumentWindow(self.corpus, excerpts, documents)
        rows = int(self.counts[chosen].sum())
        packing = pack(documents.lengths + len(self.form.end), self.length, self.form.overhead, rows)
        return RowWindow(self.corpus, documents, packing, shuffled(rows, stream), self.length, self.form)


class Mixture:
    """Which corpus the n-th sample comes from: each cycle of MIXTURE_CYCLE holds the same shares, in a keyed order."""

    def __init__(self, weights: Sequence[float], seed: int):
        shares = np.asarray(weights, dtype=np.float64) / sum(weights)
        exact = shares * MIXTURE_CYCLE
        self.per_cycle = np.floor(exact).astype(np.int64)
        short = MIXTURE_CYCLE - int(self.per_cycle.sum())
        self.per_cycle[np.argsort(-(exact - self.per_cycle), kind="stable")[:short]] += 1
        if not self.per_cycle.all():
            raise UserError(
                f"a weight in data.corpus is below 1/{MIXTURE_CYCLE} of the mixture: raise it or leave it out"
            )
        self.seed = seed
        self._cycle = lru_cache(maxsize=4)(self._cycle)

    def locate(self, index: int) -> tuple[int, int]:
        """(corpus of sample `index`, number of samples of this corpus before it)."""
        if len(self.per_cycle) == 1:
            return 0, index
        cycle, place = divmod(index, MIXTURE_CYCLE)
        corpora, before = self._cycle(cycle)
        corpus = int(corpora[place])
        return corpus, cycle * int(self.per_cycle[corpus]) + int(before[place])

    def _cycle(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        corpora = np.repeat(np.arange(len(self.per_cycle)), self.per_cycle)
        corpora = corpora[shuffled(MIXTURE_CYCLE, philox(self.seed, MIXTURE, cycle))]
        before = np.zeros(MIXTURE_CYCLE, np.int64)
        for corpus in range(len(self.per_cycle)):
            mine = corpora == corpus
            before[mine] = np.arange(int(mine.sum()))
        return corpora, before


def merge_blocks(blocks: Blocks, most: int) -> Blocks:
    """Join neighbouring blocks of a shard until there are about `most`; a small corpus stays as it is."""
    group = -(-len(blocks) // most)
    if group <= 1:
        return blocks
    within = np.arange(len(blocks)) - np.searchsorted(blocks.shard, blocks.shard, side="left")
    starts = np.flatnonzero(within % group == 0)
    summed = {key: np.add.reduceat(getattr(blocks, key), starts) for key in ("documents", "sentences", "tokens")}
    return replace(blocks, shard=blocks.shard[starts], first_document=blocks.first_document[starts], **summed)
