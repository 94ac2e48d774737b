"""Barlow Twins: the formula in loops, and what its two parts answer to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.formulas import head_by_hand
from tests.objectives.embedded import built, draw, loss_of, two_view_features


def barlow_by_hand(first, second, redundancy):
    """arXiv:2103.03230, equations 1 and 2; in loops, over centred features."""
    first, second = first - first.mean(0), second - second.mean(0)
    total = 0.0
    for i in range(first.shape[1]):
        for j in range(first.shape[1]):
            a, b = first[:, i], second[:, j]
            correlation = (a * b).sum() / (np.sqrt((a**2).sum()) * np.sqrt((b**2).sum()))
            total += (1 - correlation) ** 2 if i == j else redundancy * correlation**2
    return total


@pytest.mark.parametrize("redundancy", [0.0, 0.005, 1.0])
def test_the_loss_is_the_formula(redundancy):
    objective = built("barlow", projector_width=6, projector_out=5, redundancy=redundancy)
    features = two_view_features(9)
    views = [head_by_hand(objective.projector, features["text"].numpy()[view::2]) for view in (0, 1)]
    assert loss_of(objective, features) == pytest.approx(barlow_by_hand(views[0], views[1], redundancy), rel=1e-5)


def test_equal_views_with_independent_dimensions_cost_nothing():
    objective = built("barlow", projector_width=None)
    whole, _ = torch.linalg.qr(draw(40) - draw(40).mean(0))
    independent = whole - whole.mean(0)
    features = two_view_features(40) | {"text": independent.repeat_interleave(2, dim=0)}
    assert loss_of(objective, features) < 1e-6
    features["text"] = features["text"][:, [0, 0, 1, 1, 2, 2, 3, 3]]  # every dimension twice
    assert loss_of(objective, features) == pytest.approx(0.005 * 8, rel=1e-3)


def test_scale_and_offset_of_a_dimension_do_not_matter():
    objective, features = built("barlow", projector_width=None), two_view_features(9)
    changed = features | {"text": features["text"] * (1 + torch.arange(8)) + 7}
    assert loss_of(objective, changed) == pytest.approx(loss_of(objective, features), rel=1e-4)
