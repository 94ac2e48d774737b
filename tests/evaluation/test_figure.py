from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from textssl.evaluation.figure import Figure, Score, merge, over_draws, over_examples


def test_interval_over_draws_is_students():
    scores = [0.5, 0.6, 0.55, 0.7]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(scores), scale=stats.sem(scores))
    score = over_draws(scores)
    assert (score.mean, score.low, score.high) == pytest.approx((np.mean(scores), low, high))
    assert over_draws([0.99, 1.0, 1.0]).high <= 1
    assert over_draws([0.4]) == Score(0.4, 0.4, 0.4)


def test_interval_over_examples_is_the_binomial_one_and_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 1000)
    predicted = np.where(rng.random(1000) < 0.8, truth, rng.integers(0, 4, 1000))
    accuracy, f1 = over_examples(truth, predicted, seed=0)
    half = 1.96 * np.sqrt(accuracy.mean * (1 - accuracy.mean) / 1000)
    assert accuracy.mean == (truth == predicted).mean()
    assert (accuracy.high - accuracy.low) / 2 == pytest.approx(half, rel=0.1)
    assert f1.mean == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert f1.low < f1.mean < f1.high


def test_bootstrap_f1_centres_on_the_figure_when_a_class_is_never_predicted():
    truth = np.array([0] * 900 + [1] * 100)
    accuracy, f1 = over_examples(truth, np.zeros(1000, dtype=int), seed=0)
    assert f1.low < f1.mean < f1.high and f1.mean == pytest.approx(0.9 / 1.9)
    assert accuracy.mean == 0.9


def test_merging_initialisations():
    figures = [
        Figure(mean, mean - 0.1, mean + 0.1, "draws", 2, 16, 100, [mean] * 2, Score(mean, 0, 1)) for mean in (0.4, 0.6)
    ]
    merged = merge(figures)
    assert (merged.mean, merged.interval, merged.draws) == (0.5, "initialisations", 2)
    assert merged.scores == [0.4, 0.4, 0.6, 0.6] and merged.settings == {"initialisations": 2}
    assert merge(figures[:1]) is figures[0]
