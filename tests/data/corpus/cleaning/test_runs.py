"""The map of keys to places, beside a dictionary."""

import numpy as np
import pytest

from textssl.data.corpus.cleaning.runs import KeyMap


@pytest.mark.parametrize("capacity", [10, 200, 10**6])
def test_it_holds_what_was_added(tmp_path, capacity):
    rng, found = np.random.default_rng(0), KeyMap(tmp_path, capacity)
    expected: dict[int, list[int]] = {}
    place = 0
    for size in rng.integers(0, 60, 40).tolist():
        keys = rng.integers(0, 300, size).astype(np.uint64) << np.uint64(50)
        places = np.arange(place, place + size, dtype=np.uint64)
        place += size
        found.add(keys, places)
        for key, one in zip(keys.tolist(), places.tolist(), strict=True):
            expected.setdefault(key, []).append(one)
    assert all(len(older.keys) >= 2 * len(newer.keys) for older, newer in zip(found.runs, found.runs[1:], strict=False))
    wanted = np.arange(300, dtype=np.uint64) << np.uint64(50)
    indices, places = found.find(wanted)
    for index, key in enumerate(wanted.tolist()):
        assert places[indices == index].tolist() == expected.get(key, [])
    in_memory = sum(len(run.keys) for run in found.runs if not isinstance(run.keys, np.memmap))
    assert in_memory <= 2 * max(capacity, 60)
    assert len(list(tmp_path.iterdir())) == 2 * sum(isinstance(run.keys, np.memmap) for run in found.runs)
    assert (capacity == 10**6) == (not list(tmp_path.iterdir()))


def test_an_empty_one_finds_nothing(tmp_path):
    for found in (KeyMap(tmp_path), KeyMap(tmp_path)):
        found.add(np.zeros(0, np.uint64), np.zeros(0, np.uint64))
        assert [array.tolist() for array in found.find(np.array([1, 2], dtype=np.uint64))] == [[], []]
