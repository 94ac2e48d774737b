"""VICReg: the formula in loops, and each of its three parts by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.formulas import head_by_hand
from tests.objectives.embedded import built, draw, loss_of, two_view_features
from textssl.objectives.vicreg import missing_spread, shared_covariance

PARTS = ("invariance", "variance", "covariance")


def vicreg_by_hand(first, second, weights):
    """arXiv:2105.04906, equations 1 to 6, with the means of the authors' code; in loops."""
    rows, width = first.shape
    invariance = sum((a - b) ** 2 for x, y in zip(first, second, strict=True) for a, b in zip(x, y, strict=True))
    variance, covariance = [], 0.0
    for view in (first, second):
        means = [sum(view[:, j]) / rows for j in range(width)]
        shared = [
            [sum((view[n, i] - means[i]) * (view[n, j] - means[j]) for n in range(rows)) / (rows - 1)
             for j in range(width)]
            for i in range(width)
        ]  # fmt: skip
        variance.append(sum(max(0.0, 1 - np.sqrt(shared[j][j] + 1e-4)) for j in range(width)) / width)
        covariance += sum(shared[i][j] ** 2 for i in range(width) for j in range(width) if i != j) / width
    return np.dot(weights, [invariance / (rows * width), np.mean(variance), covariance])


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_the_loss_is_the_formula(weights):
    options = dict(zip(PARTS, weights, strict=True))
    objective, features = built("vicreg", projector_width=6, projector_out=5, **options), two_view_features(9)
    views = [head_by_hand(objective.projector, features["text"].numpy()[view::2]) for view in (0, 1)]
    assert loss_of(objective, features) == pytest.approx(vicreg_by_hand(views[0], views[1], weights), rel=1e-9)


def test_the_three_parts():
    rows, one_point = draw(18), torch.ones(18, 8).double()
    assert missing_spread(100 * rows) == 0 < missing_spread(0.5 * rows), "more spread than 1 costs nothing"
    assert missing_spread(one_point) == pytest.approx(1 - 0.01)  # the root of epsilon
    assert shared_covariance(one_point) == shared_covariance(rows * torch.eye(8)[0]) == 0 < shared_covariance(rows)
    features = two_view_features(9)
    equal = features | {"text": features["text"][0::2].repeat_interleave(2, dim=0)}
    alone = built("vicreg", projector_width=None, invariance=1.0, variance=0.0, covariance=0.0)
    assert loss_of(alone, equal) == 0 < loss_of(alone, features)


def test_without_a_projector_isotropic_vectors_have_the_spread_that_is_wanted():
    objective = built("vicreg", projector_width=None, invariance=0.0, variance=1.0, covariance=0.0)
    features = two_view_features(2000)
    for scale in (0.01, 100.0):
        assert loss_of(objective, features | {"text": scale * features["text"]}) < 0.01
