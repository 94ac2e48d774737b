"""Samples that are all in memory (given pairs, labelled texts), in a new keyed order every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from textssl.data.keyed_random import SAMPLE, generator, philox, shuffled


class InMemory:
    """Items in a new keyed order every epoch, without end (an `Order` of data.plan.plan).

    purpose: the number in data.keyed_random for such items, so that two lists of one run have different orders.
    shuffle: False keeps the order of the list, for data that are read once.
    """

    def __init__(self, items: Sequence[Any], seed: int, purpose: int, *, shuffle: bool = True):
        self.items, self.seed, self.purpose, self.shuffle = items, seed, purpose, shuffle
        self._order = lru_cache(maxsize=2)(self._order)

    def __len__(self) -> int:
        return len(self.items)

    def sample(self, index: int) -> Any:
        epoch, place = divmod(index, len(self.items))
        return self.items[int(self._order(epoch)[place]) if self.shuffle else place]

    def rng(self, index: int) -> np.random.Generator:
        return generator(self.seed, SAMPLE, index, 0, self.purpose)

    def _order(self, epoch: int) -> np.ndarray:
        return shuffled(len(self.items), philox(self.seed, self.purpose, epoch))
