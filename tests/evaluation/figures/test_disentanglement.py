"""DCI on codes whose answer is known."""

import numpy as np
import pytest

from textssl.evaluation.figures.disentanglement import disentanglement, entropy_share
from textssl.evaluation.grammar import FACTORS, sentence, sentences


@pytest.fixture(scope="module")
def factors():
    return np.random.default_rng(0).integers(4, size=(600, 3))


def test_one_dimension_a_factor_scores_near_one_and_random_axes_do_not(factors):
    rng = np.random.default_rng(1)
    codes = factors + 0.05 * rng.normal(size=factors.shape)
    found = disentanglement(codes, factors)
    assert found.disentanglement > 0.9 and found.completeness > 0.9 and found.informativeness > 0.95
    rotation, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))  # far from a permutation
    turned = disentanglement(codes @ rotation, factors)
    assert turned.disentanglement < 0.6 and turned.completeness < 0.6
    np.testing.assert_allclose(found.importances.sum(0), 1)


def test_noise_holds_nothing(factors):
    found = disentanglement(np.random.default_rng(2).normal(size=(600, 5)), factors)
    assert found.informativeness < 0.2 and found.accuracies.max() < 0.4


def test_entropy_is_a_share_of_the_largest():
    rows = np.array([[1.0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(entropy_share(rows), [0, 1, 0.5, 1])


def test_the_grammar_says_what_the_factors_are():
    assert sentence([0, 1, 1, 2, 3, 0, 0]) == "The teachers never lost the piano in London yesterday."
    texts, drawn = sentences(400, seed=3)
    assert drawn.shape == (400, len(FACTORS)) and texts == [sentence(row) for row in drawn.tolist()]
    assert all(len(set(column)) == len(values) for column, values in zip(drawn.T, FACTORS.values(), strict=True))
    assert abs(np.corrcoef(drawn.T) - np.eye(len(FACTORS))).max() < 0.2, "drawn independently"
