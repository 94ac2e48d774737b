from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from textssl.evaluation.figures.intervals import Score, bootstrap, jackknife, over_draws, without_parts
from textssl.evaluation.figures.resampling import mean_of


def test_interval_over_draws_is_students():
    scores = [0.5, 0.6, 0.55, 0.7]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(scores), scale=stats.sem(scores))
    score = over_draws(scores)
    assert (score.mean, score.low, score.high) == pytest.approx((np.mean(scores), low, high))
    assert over_draws([0.99, 1.0, 1.0]).high == 1
    assert over_draws([-0.2, 0.2], (-1, 1)).low == -1 and over_draws([-0.2, 0.2], (-9, 9)).low < -1
    assert over_draws([0.4]) == Score(0.4, 0.4, 0.4)


def test_bootstrap_of_a_mean_is_the_normal_interval():
    values = np.random.default_rng(0).normal(3, 2, 400)
    low, high = bootstrap(mean_of(values), 400, seed=0)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 5)
    assert bootstrap(mean_of(values), 400, seed=0) == (low, high)


def test_jackknife_of_a_mean_is_students_interval_of_the_parts():
    rows = np.random.default_rng(0).normal(3, 2, (100, 1))
    left_out = without_parts(lambda kept: float(kept.mean()), rows, 0)
    score = jackknife(float(rows.mean()), left_out, (-9, 9))
    parts = np.random.default_rng(0).permutation(100) % 10
    means = [rows[parts == part].mean() for part in range(10)]
    low, high = stats.t.interval(0.95, 9, loc=rows.mean(), scale=stats.sem(means))
    assert (score.mean, score.low, score.high) == pytest.approx((rows.mean(), low, high))
    assert jackknife(float(rows.mean()), left_out, (2.99, 3.01)).high == 3.01
