"""Figures on resamples, against scipy on the very examples that were drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from textssl.evaluation.figures import resampling
from textssl.evaluation.figures.resampling import (
    drawn_counts,
    mean_of,
    on_all,
    pearson_of,
    ratio_of,
    resampled,
    spearman_of,
)

VALUES = st.sampled_from([-1.5, 0.0, -0.0, 0.1, 2.0]) | st.floats(-10, 10, width=32)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=12)


def drawn_one_by_one(statistic, examples: int, resamples: int, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    return [statistic(rng.integers(examples, size=examples)) for _ in range(resamples)]


@pytest.mark.parametrize("numbers", [resampling.NUMBERS, 64])  # all at once, and one or two at a time
def test_blocks_draw_what_single_draws_would(numbers, monkeypatch):
    monkeypatch.setattr(resampling, "NUMBERS", numbers)
    rng = np.random.default_rng(0)
    above, below = rng.normal(size=31), rng.integers(1, 9, 31)
    found = resampled(mean_of(above), 31, 20, seed=3)
    assert found == pytest.approx(drawn_one_by_one(lambda drawn: above[drawn].mean(), 31, 20, 3))
    found = resampled(ratio_of(above, below), 31, 20, seed=3)
    expected = drawn_one_by_one(lambda drawn: above[drawn].sum() / below[drawn].sum(), 31, 20, 3)
    assert found == pytest.approx(expected)


@given(PAIRS, st.integers(0, 99))
def test_correlations_are_those_of_scipy_with_ties_and_without_spread(pairs, seed):
    left, right = np.array(pairs).T
    counts = drawn_counts(np.random.default_rng(seed), 4, len(left), len(left))
    for statistic, reference in ((spearman_of, stats.spearmanr), (pearson_of, stats.pearsonr)):
        for count, found in zip(counts, statistic(left, right)(counts), strict=True):
            drawn = np.repeat(np.arange(len(left)), count)
            one, other = left[drawn], right[drawn]
            if min(np.ptp(one), np.ptp(other)) == 0:
                assert found == 0
            elif reference is stats.spearmanr or min(one.std(), other.std()) > 1e-3:
                assert found == pytest.approx(reference(one, other)[0], abs=1e-9)


def test_a_value_that_is_no_number_counts_where_it_was_drawn():
    left, right = np.array([1.0, np.nan, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 5.0])
    found = spearman_of(left, right)(np.array([[1, 1, 1, 1], [2, 0, 1, 1]]))
    assert math.isnan(found[0]) and found[1] == pytest.approx(1)


def test_on_all_is_the_figure_itself():
    left, right = np.random.default_rng(1).normal(size=(2, 50))
    assert on_all(spearman_of(left, right), 50) == pytest.approx(stats.spearmanr(left, right)[0])
