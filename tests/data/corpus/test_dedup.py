"""Digests seen before, in bounded memory, and the split by hash."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textssl.data.corpus.dedup import DIGEST, SeenDigests, digest, merge_sorted, unit_interval


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), max_size=20), max_size=20), st.integers(1, 8))
def test_equals_a_plain_set(batches, capacity):
    known, expected, found = set(), [], []
    with SeenDigests(capacity=capacity) as seen:
        for batch in batches:
            for item in batch:
                expected.append(item not in known)
                known.add(item)
            found += seen.add([digest(str(item).encode()) for item in batch])
        assert len(seen) == len(known)
    assert found == expected


def test_runs_double_and_stay_few(tmp_path):
    with SeenDigests(tmp_path, capacity=100) as seen:
        for first in range(0, 20_000, 50):
            assert all(seen.add([digest(str(i).encode()) for i in range(first, first + 50)]))
        assert len(seen.runs) <= 9 and len(seen.recent) < 150
        assert all(len(a) >= 2 * len(b) for a, b in zip(seen.runs[:-1], seen.runs[1:], strict=True))
        assert not any(seen.add([digest(str(i).encode()) for i in range(20_000)]))
        assert len(list(seen.folder.iterdir())) == len(seen.runs)
    assert not list(tmp_path.iterdir())


def test_digests_with_zero_bytes_at_their_end_differ(tmp_path):
    values = [b"a" * 14 + b"\0\0", b"a" * 14 + b"\0b", b"a" * 15 + b"\0", b"\0" * 16, b"\0" * 15 + b"\1"]
    with SeenDigests(tmp_path, capacity=2) as seen:
        assert [seen.add([value])[0] for value in values] == [True] * 5
        assert [seen.add([value])[0] for value in values] == [False] * 5


@pytest.mark.parametrize("sizes", [(0, 5), (7, 0), (100, 3), (3, 100), (64, 64)])
def test_merging_in_small_parts(sizes):
    rng = np.random.default_rng(0)
    first, second = (np.sort(np.array([rng.bytes(16) for _ in range(n)], dtype=DIGEST)) for n in sizes)
    parts = list(merge_sorted(first, second, part=8))
    assert max(map(len, parts)) <= 16
    assert np.array_equal(np.concatenate(parts), np.sort(np.concatenate([first, second])))


def test_places_are_uniform_and_follow_the_text():
    places = np.array([unit_interval(digest(str(i).encode())) for i in range(20_000)])
    assert places.min() >= 0 and places.max() < 1
    assert abs((places < 0.01).mean() - 0.01) < 0.003 and abs(places.mean() - 0.5) < 0.01
    assert unit_interval(digest(b"same")) == unit_interval(digest(b"same"))
    assert unit_interval(b"\xff" * 16) < 1
