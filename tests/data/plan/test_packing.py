import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textssl.data.plan.packing import pack, rows_needed


@settings(max_examples=300, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60),
    length=st.integers(4, 33),
    overhead=st.integers(0, 3),
)
def test_every_token_is_placed_once_in_the_rows_that_counts_alone_predict(lengths, length, overhead):
    lengths = np.array(lengths)
    rows = int(rows_needed(lengths.sum(), len(lengths), length, overhead))
    packing = pack(lengths, length, overhead, rows)
    assert len(packing) == rows
    seen = [np.zeros(n, int) for n in lengths]
    for row in range(rows):
        pieces = packing.row(row)
        assert sum(end - begin + overhead for _, begin, end in pieces) <= length
        for document, begin, end in pieces:
            assert begin < end
            seen[document][begin:end] += 1
    assert all((count == 1).all() for count in seen)


@pytest.mark.parametrize("length", [128, 512])
@pytest.mark.parametrize("mean", [20, 140, 700])
def test_padding_stays_under_two_percent(length, mean):
    lengths = np.random.default_rng(0).geometric(1 / mean, size=400_000 // mean)
    rows = int(rows_needed(lengths.sum(), len(lengths), length, 2))
    packing = pack(lengths, length, 2, rows)
    used = lengths.sum() + 2 * len(packing.document)
    assert 1 - used / (rows * length) < 0.02


def test_documents_that_fit_are_rarely_cut():
    lengths = np.random.default_rng(0).integers(5, 120, size=5000)
    rows = int(rows_needed(lengths.sum(), len(lengths), 128, 2))
    packing = pack(lengths, 128, 2, rows)
    whole = np.bincount(packing.document, minlength=len(lengths)) == 1
    assert whole.mean() > 0.95
