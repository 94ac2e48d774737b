"""The documents of a step as arrays over the shards that hold them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from textssl.data.corpus.shards import Shard
from textssl.data.keyed_random import SAMPLE, first_words
from textssl.sample_types import content_key


@dataclass(frozen=True)
class StepDocuments:
    """The ManyDocuments of a plan.

    shards: the shards that hold them. shard: (documents,) numbers of these. first, lengths: (documents,) int64, first
    token within the shard, and tokens. openings: (documents,) int64, first token of the document that each is an
    excerpt of, or its own. ids: (documents, 3), what its random numbers are a function of. seed: of the run. names: of
    the shards. known: sources that were worked out before, by name of the shard and opening.
    """

    shards: list[Shard]
    names: list[Hashable]
    shard: np.ndarray
    first: np.ndarray
    lengths: np.ndarray
    openings: np.ndarray
    ids: np.ndarray
    seed: int
    known: dict[tuple[Hashable, int], int]
    one: Callable[[int], tuple[Any, np.random.Generator]]

    def words(self, count: int) -> np.ndarray:
        return first_words(self.seed, SAMPLE, self.ids, count)

    def marks(self, places: np.ndarray) -> np.ndarray:
        inside = (places >= 0) & (places < self.lengths[:, None])
        within = np.where(inside, places + self.first[:, None], self.first[:, None])
        found = np.empty(places.shape, np.uint8)
        for number, shard in enumerate(self.shards):
            held = self.shard == number
            found[held] = shard.marks[within[held]]
        return np.where(inside, found, 0)

    def all_marks(self, number: int) -> np.ndarray:
        first = int(self.first[number])
        return self.shards[self.shard[number]].marks[first : first + int(self.lengths[number])]

    def texts(self, spans: np.ndarray) -> list[list[np.ndarray]]:
        begins, lengths = self.first[:, None] + spans[..., 0], spans[..., 1] - spans[..., 0]
        bounds = np.concatenate([[0], lengths.ravel().cumsum()])
        starts = bounds[:-1].reshape(lengths.shape)
        ids = np.empty(bounds[-1], np.int64)
        for number, shard in enumerate(self.shards):
            held = self.shard == number
            ids[places_of(starts[held], lengths[held])] = shard.tokens[places_of(begins[held], lengths[held])]
        texts = [ids[start:stop] for start, stop in pairwise(bounds.tolist())]
        count = spans.shape[1]
        return [texts[at : at + count] for at in range(0, len(texts), count)]

    def sources(self) -> list[int]:
        return [self.source(number) for number in range(len(self.shard))]

    def source(self, number: int) -> int:
        shard, opening = int(self.shard[number]), int(self.openings[number])
        key = self.names[shard], opening
        source = self.known.get(key)
        if source is None:
            ids = self.shards[shard].tokens[opening : opening + int(self.lengths[number])]
            source = self.known[key] = content_key(ids.astype(np.int64))
        return source


def places_of(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The places of runs one after another, (sum of lengths,). begins, lengths: of any shape, of each run."""
    begins, lengths = begins.ravel(), lengths.ravel()
    ends = lengths.cumsum()
    return np.repeat(begins - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)
