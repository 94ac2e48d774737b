"""Temperatures: against a search over a grid, against what is known exactly, and on texts that were held out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from textssl.evaluation.figures.calibration import LIMITS, best_temperature, class_logits, fit_temperature
from textssl.evaluation.figures.supervised import calibration_error
from textssl.evaluation.labelled_baselines import linear


def clusters(each: int, classes: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around the axes, `each` a class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    rows = np.eye(16)[labels] + spread * rng.normal(size=(len(labels), 16))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def test_the_temperature_is_the_best_of_a_grid():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=50)
    logits = 4 * (np.eye(3)[labels] + rng.normal(size=(50, 3)))
    targets = np.where(np.eye(3)[labels] > 0, 51 / 52, 1 / 104)

    def loss(temperature: float) -> float:
        return -float((targets * log_softmax(logits / temperature, axis=1)).sum())

    grid = np.geomspace(LIMITS[0], LIMITS[1], 2001)
    assert best_temperature(logits, labels) == pytest.approx(min(grid, key=loss), rel=0.01)
    for factor in (0.05, 20.0):
        assert best_temperature(factor * logits, labels) == pytest.approx(
            factor * best_temperature(logits, labels), 1e-2
        )


def test_answers_that_are_all_right_are_as_sure_as_their_number_allows_and_wrong_ones_not_at_all():
    labels = np.arange(18) % 2
    logits = np.stack([np.zeros(18), np.where(labels == 1, 3.0, -3.0)], axis=1)
    temperature = best_temperature(logits, labels)
    assert softmax(logits / temperature, axis=1).max(1) == pytest.approx(19 / 20, abs=1e-3)
    assert best_temperature(logits, 1 - labels) == pytest.approx(LIMITS[1], rel=1e-2)
    assert best_temperature(logits * 1e-9, labels) == pytest.approx(LIMITS[0], rel=1e-2)


def test_what_was_held_out_is_not_fitted():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(40, 200)), np.arange(40) % 2  # nothing to learn, and room to learn it by heart
    model = LogisticRegression(C=100.0, max_iter=1_000).fit(rows, labels)
    assert (model.predict(rows) == labels).all()
    sure = softmax(class_logits(model, rng.normal(size=(100, 200))) / fit_temperature(model, rows, labels, 0), axis=1)
    assert sure.max(1).mean() < 0.6


@pytest.mark.parametrize("classes", [2, 5])
def test_a_head_that_is_far_too_unsure_becomes_calibrated_and_answers_the_same(classes: int):
    rows, labels = clusters(8, classes, 0.4, seed=0)
    test, truth = clusters(200, classes, 0.4, seed=1)
    model = LogisticRegression(C=0.1).fit(rows, labels)
    logits = class_logits(model, test)
    raw, found = softmax(logits, axis=1), softmax(logits / fit_temperature(model, rows, labels, 0), axis=1)
    assert (raw.argmax(1) == found.argmax(1)).all() and (found.argmax(1) == truth).mean() > 0.8
    assert calibration_error(truth, raw) > 0.3 and calibration_error(truth, found) < 0.12
    short = linear(0.02 * rows, labels, 0.02 * test, classes, seed=0)
    assert calibration_error(truth, short) < 0.15, "short vectors, as an encoder that does not normalise gives them"


def test_few_examples_of_a_class():
    rows, labels = clusters(2, 3, 0.3, seed=0)
    model = LogisticRegression().fit(rows, labels)
    assert LIMITS[0] < fit_temperature(model, rows, labels, 0) == fit_temperature(model, rows, labels, 0) < LIMITS[1]
    one = [0, 2, 4, 5]  # two classes of one example, one of two
    assert LIMITS[0] <= fit_temperature(model, rows[one], labels[one], 0) <= LIMITS[1]
    single = [0, 2, 4]
    assert fit_temperature(model, rows[single], labels[single], 2**63 - 1) == 1.0


def test_an_encoder_that_learned_the_examples_by_heart_makes_no_answer_surer_than_the_one_before():
    rng = np.random.default_rng(0)
    before, labels = rng.normal(size=(40, 16)), np.arange(40) % 2  # knows nothing
    tuned = np.eye(16)[labels] + 0.01 * rng.normal(size=(40, 16))  # has learned the examples
    model = LogisticRegression().fit(tuned, labels)
    alone = fit_temperature(model, tuned, labels, 0)
    assert fit_temperature(model, tuned, labels, 0, before) > 1.5 * alone
    assert fit_temperature(model, tuned, labels, 0, 3 * before) == pytest.approx(
        fit_temperature(model, tuned, labels, 0, before)
    )
    assert fit_temperature(model, tuned, labels, 0, 7 * tuned) == pytest.approx(alone), "as long as the others"
