"""VICReg: the formula in loops, and each of its three parts by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.formulas import head_by_hand
from tests.objectives.embedded import built, draw, loss_of, two_view_features

ALONE = {"invariance": 0.0, "variance": 0.0, "covariance": 0.0}


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
    options = dict(zip(ALONE, weights, strict=True))
    objective, features = built("vicreg", projector_width=6, projector_out=5, **options), two_view_features(9)
    views = [head_by_hand(objective.projector, features["text"].numpy()[view::2]) for view in (0, 1)]
    assert loss_of(objective, features) == pytest.approx(vicreg_by_hand(*views, weights), rel=1e-9)


def test_the_three_parts():
    features = two_view_features(9)
    equal = features | {"text": features["text"][0::2].repeat_interleave(2, dim=0)}
    parts = {name: built("vicreg", projector_width=None, **{**ALONE, name: 1.0}) for name in ALONE}
    assert loss_of(parts["invariance"], equal) == 0 < loss_of(parts["invariance"], features)
    wide = features | {"text": 100 * draw(18)}
    assert loss_of(parts["variance"], wide) == 0, "more spread than 1 costs nothing"
    one_point = features | {"text": torch.ones(18, 8).double()}
    assert loss_of(parts["variance"], one_point) == pytest.approx(1 - 0.01)  # the root of epsilon
    assert loss_of(parts["covariance"], one_point) == 0
    alone = features | {"text": features["text"] * torch.eye(8)[0]}  # one dimension has nobody to share with
    assert loss_of(parts["covariance"], alone) == 0 < loss_of(parts["covariance"], features)
