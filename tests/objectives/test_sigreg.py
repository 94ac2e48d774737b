"""LeJEPA: the test statistic against an integral of complex numbers, the formula, and slices that follow a counter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from tests.formulas import head_by_hand
from tests.objectives.embedded import built, draw, loss_of, two_view_features
from textssl.objectives.sigreg import directions, epps_pulley


def error_at(values, t):
    """|empirical characteristic function - normal one|^2, weighed by the normal one."""
    empirical = sum(np.exp(1j * t * value) for value in values) / len(values)
    return abs(empirical - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)


def statistic_by_hand(values):
    """arXiv:2511.08544, algorithm 1: 17 places from -5 to 5, by the trapezoid rule."""
    places = np.linspace(-5, 5, 17)
    errors = [error_at(values, t) for t in places]
    return len(values) * sum((a + b) / 2 for a, b in itertools.pairwise(errors)) * (places[1] - places[0])


@pytest.mark.parametrize("offset, scale", [(0.0, 1.0), (0.5, 1.0), (0.0, 0.1), (3.0, 2.0)])
def test_the_statistic_is_the_formula_and_nearly_the_integral(offset, scale):
    values = offset + scale * draw(30, 3)
    found = epps_pulley(values).numpy()
    assert found == pytest.approx([statistic_by_hand(column) for column in values.numpy().T], rel=1e-9)
    whole = [30 * quad(lambda t, c=column: error_at(c, t), -np.inf, np.inf)[0] for column in values.numpy().T]
    assert found == pytest.approx(whole, rel=0.1, abs=0.02)


def test_normal_numbers_have_the_least_statistic():
    rows = draw(2000, 4)
    normal = epps_pulley(rows).mean()
    others = {"uniform": 1.7 * (2 * torch.rand(2000, 4) - 1), "narrow": rows / 2, "far": rows + 1, "one": rows * 0}
    assert normal < 2 and all(epps_pulley(other.double()).min() > 4 * normal for other in others.values())


@pytest.mark.parametrize("predictor", [None, 7])
def test_the_loss_is_the_formula(predictor):
    options = {"projector_width": 6, "projector_out": 5, "num_slices": 3, "predictor_width": predictor}
    objective, features = built("sigreg", gaussian=0.2, **options), two_view_features(9)
    first, second = (head_by_hand(objective.projector, features["text"].numpy()[view::2]) for view in (0, 1))
    predict = (lambda view: view) if predictor is None else (lambda view: head_by_hand(objective.predictor, view))
    squares = [((predict(a) - b) ** 2).mean() for a, b in ((first, second), (second, first))]
    slices = objective.slices.numpy()
    assert np.linalg.norm(slices, axis=0) == pytest.approx(np.ones(3), rel=1e-6)
    statistics = [statistic_by_hand(view @ slices[:, i]) for view in (first, second) for i in range(3)]
    expected = 0.8 * np.mean(squares) + 0.2 * np.mean(statistics)
    assert loss_of(objective, features) == pytest.approx(expected, rel=1e-9)


def test_slices_follow_the_counter_whatever_else_is_drawn():
    first, second = built("sigreg"), built("sigreg")
    features = two_view_features(4)
    seen = []
    for step in range(3):
        assert torch.equal(first.slices, second.slices)
        seen.append(first.slices.clone())
        assert loss_of(first, features) == loss_of(first, features), "a loss that is computed again is the same"
        torch.manual_seed(step)
        for objective in (first, second):
            torch.rand(3)
            objective.commit(features, 0.5)
    assert not torch.allclose(seen[0], seen[1]) and not torch.allclose(seen[1], seen[2])
    expected = directions(int(first.drawn), *first.slices.shape).double()
    assert torch.equal(first.slices, expected)
    assert {"drawn", "slices"} <= first.state_dict().keys()
