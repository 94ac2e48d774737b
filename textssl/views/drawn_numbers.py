"""Random numbers one at a time, for views that need a handful of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LOW_BITS = 2**32 - 1


class DrawnNumbers:
    """Single numbers of a stream, one at a time: those that numpy's Generator draws from it, in a fraction of its time.

    Its algorithms are restated here, since numpy may change them, and samples must not change.
    """

    def __init__(self, stream: np.random.BitGenerator) -> None:
        self.word: Callable[[], int] = stream.random_raw  # 64 bits
        self.half: int | None = None  # the upper 32 bits of a word whose lower ones were used

    def uniform(self) -> float:
        """From 0 to below 1."""
        return (self.word() >> 11) * 2.0**-53

    def integer(self, low: int, high: int) -> int:
        """From low to high, both included, which are less than 2^32 apart (Lemire, arXiv:1805.10941)."""
        count = high - low + 1
        if count == 1:
            return low
        product = self._bits() * count
        if product & LOW_BITS < count:
            excess = 2**32 % count
            while product & LOW_BITS < excess:
                product = self._bits() * count
        return low + (product >> 32)

    def _bits(self) -> int:
        """32 bits."""
        if (half := self.half) is not None:
            self.half = None
            return half
        word = self.word()
        self.half = word >> 32
        return word & LOW_BITS
