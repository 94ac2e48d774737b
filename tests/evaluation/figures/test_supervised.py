"""Figures of classifiers and of scores, against scikit-learn, scipy and a loop written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from textssl.evaluation.figures import intervals
from textssl.evaluation.figures.supervised import answer_figures, answer_values, calibration_error, confusion


def some_answers(examples: int = 200, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=examples)
    odds = rng.normal(size=(examples, classes)) + 1.5 * np.eye(classes)[truth]
    return truth, np.exp(odds) / np.exp(odds).sum(1, keepdims=True)


def test_classification_figures_are_those_of_scikit_learn():
    truth, probabilities = some_answers()
    values, predicted = answer_values(truth, probabilities), probabilities.argmax(1)
    assert values["accuracy"] == pytest.approx(metrics.accuracy_score(truth, predicted))
    assert values["macro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert values["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, predicted))
    assert values["loss"] == pytest.approx(metrics.log_loss(truth, probabilities))
    assert (confusion(truth, probabilities) == metrics.confusion_matrix(truth, predicted)).all()


def test_calibration_error_is_the_weighted_gap_of_the_bins():
    truth, probabilities = some_answers()
    confidence, hits = probabilities.max(1), probabilities.argmax(1) == truth
    expected = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    assert calibration_error(truth, probabilities) == pytest.approx(expected)
    sure = np.eye(4)[truth]
    assert calibration_error(truth, sure) == 0.0 and calibration_error((truth + 1) % 4, sure) == 1.0


def test_regression_figures_are_those_of_scipy():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=100)
    scores = truth + rng.normal(size=100)
    values = answer_values(truth, scores)
    assert values["pearson"] == pytest.approx(stats.pearsonr(truth, scores)[0])
    assert values["spearman"] == pytest.approx(stats.spearmanr(truth, scores)[0])
    assert values["mse"] == pytest.approx(metrics.mean_squared_error(truth, scores))
    assert values["mae"] == pytest.approx(metrics.mean_absolute_error(truth, scores))
    assert answer_values(truth, np.ones(100))["spearman"] == 0.0


def test_intervals_hold_the_value_and_narrow_with_more_examples():
    few, many = (answer_figures(*some_answers(examples), seed=0) for examples in (100, 2000))
    for name, figure in many.items():
        assert figure.low <= figure.mean <= figure.high, name
        assert figure.high - figure.low < few[name].high - few[name].low, name


@pytest.mark.parametrize("kind", ["classes", "scores"])
def test_resamples_use_the_same_formulas(kind, monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    truth, answers = some_answers(60, 3)
    if kind == "scores":
        answers = answers[:, 0]
    figures = answer_figures(truth, answers, seed=3)
    rng = np.random.default_rng(3)
    drawn = [rng.integers(60, size=60) for _ in range(200)]
    sampled = [answer_values(truth[places], answers[places]) for places in drawn]
    for name, figure in figures.items():
        expected = np.percentile([values[name] for values in sampled], [2.5, 97.5])
        assert (figure.low, figure.high) == pytest.approx(tuple(expected), abs=1e-9), name
