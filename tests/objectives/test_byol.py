"""BYOL: the formula through every head, a target without gradient, and the teacher of backbone and projector."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.formulas import cosine, head_by_hand
from tests.objectives.embedded import built, draw, loss_of, two_view_features
from textssl.objectives.two_views import scheduled


def features_of(samples: int) -> dict[str, torch.Tensor]:
    return {**two_view_features(samples), "target": draw(2 * samples, seed=5)}


def moved(objective):
    """The same with heads that differ between student and teacher."""
    with torch.no_grad():
        for seed, parameter in enumerate(objective.parameters()):
            parameter.add_(0.3 * draw(1, parameter.numel(), seed=seed).view_as(parameter))
    return objective


@pytest.mark.parametrize("out", [None, 5])
def test_the_loss_is_the_formula(out):
    objective, features = moved(built("byol", projector_width=6, projector_out=out, predictor_width=7)), features_of(9)
    projected, targets = (
        [head_by_hand(head, features[name].numpy()[view::2]) for view in (0, 1)]
        for head, name in ((objective.projector, "text"), (objective.teacher[1], "target"))
    )
    predicted = [head_by_hand(objective.predictor, view) for view in projected]
    pairs = [*zip(predicted[0], targets[1], strict=True), *zip(predicted[1], targets[0], strict=True)]
    lengths = [np.linalg.norm(a) * np.linalg.norm(b) for a, b in pairs]
    squares = [
        np.sum((a / np.linalg.norm(a) - b / np.linalg.norm(b)) ** 2) for (a, b), _ in zip(pairs, lengths, strict=True)
    ]
    assert loss_of(objective, features) == pytest.approx(np.sum(squares) / 9, rel=1e-9)
    assert np.sum(squares) == pytest.approx(sum(2 - 2 * cosine(a, b) for a, b in pairs))


def test_without_heads_the_text_predicts_the_target_itself():
    objective, features = built("byol", projector_width=None, predictor_width=None), features_of(3)
    first, second = ([cosine(a, b) for a, b in zip(*sides, strict=True)] for sides in sides_of(features))
    assert loss_of(objective, features) == pytest.approx(4 - 2 * np.mean(first) - 2 * np.mean(second), rel=1e-9)


def sides_of(features):
    text, target = features["text"].numpy(), features["target"].numpy()
    return (text[0::2], target[1::2]), (text[1::2], target[0::2])


def test_nothing_of_the_teacher_learns():
    objective, features = built("byol", projector_width=6), features_of(4)
    assert not any(p.requires_grad for p in objective.teacher.parameters())
    for name in ("text", "target"):
        features[name].requires_grad_()
    (loss,) = objective.batch_loss(features).values()
    loss.backward()
    assert features["target"].grad is None and features["text"].grad.abs().sum() > 0  # type: ignore[union-attr]
    assert all(p.grad is not None for p in [*objective.projector.parameters(), *objective.predictor.parameters()])


def test_the_teacher_follows_backbone_and_projector_more_and_more_slowly():
    objective = built("byol", projector_width=6, momentum=[0.5, 1.0])
    for progress, momentum in ((0.0, 0.5), (0.5, 0.75), (1.0, 1.0)):
        old = {name: p.clone() for name, p in objective.teacher.named_parameters()}
        moved(objective.student)
        objective.commit(features_of(2), progress)
        student = dict(objective.student.named_parameters())
        assert len(student) == len(old) > 5
        for name, parameter in objective.teacher.named_parameters():
            expected = momentum * old[name] + (1 - momentum) * student[name]
            assert torch.allclose(parameter, expected, atol=1e-12), name
    assert scheduled((0.99, 1.0), 0.25) == pytest.approx(1 - 0.01 * (np.cos(np.pi / 4) + 1) / 2)  # section 3.3


def test_the_monitor_sees_encoder_and_projector():
    watched = built("byol", projector_width=6).watched(features_of(4))
    assert watched.encoder.shape == (4, 8) and watched.projector.shape == watched.positives.shape == (4, 6)
