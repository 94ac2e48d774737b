"""The numbers are those of numpy's Generator on the same stream, in any order of kinds and ranges."""

import numpy as np
import pytest

from textssl.data.keyed_random import philox
from textssl.views.drawn_numbers import DrawnNumbers

RANGES = [(0, 0), (0, 1), (5, 5), (0, 6), (3, 17), (0, 2**31), (0, 2**32 - 2), (7, 3 * 2**30), (1, 2**31 + 2)]


@pytest.mark.parametrize("stream", [lambda seed: philox(seed, 2, 5), np.random.PCG64])
def test_they_are_those_of_numpys_generator(stream):
    for seed in range(40):
        ours, theirs = DrawnNumbers(stream(seed)), np.random.Generator(stream(seed))
        kinds = np.random.default_rng(seed).integers(len(RANGES) + 1, size=60)
        for kind in kinds.tolist():
            if kind == len(RANGES):
                assert ours.uniform() == theirs.random()
            else:
                low, high = RANGES[kind]
                assert ours.integer(low, high) == theirs.integers(low, high, endpoint=True)
