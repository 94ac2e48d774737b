"""SimSiam: the formula through its heads, the stopped gradient, and the norm without affine at the projector's end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.formulas import cosine, head_by_hand
from tests.objectives.embedded import built, loss_of, two_view_features


@pytest.mark.parametrize("out", [None, 5])
def test_the_loss_is_the_formula_plus_one(out):
    objective = built("simsiam", projector_width=6, projector_out=out, predictor_width=12)
    features = two_view_features(9)
    first, second = (head_by_hand(objective.projector, features["text"].numpy()[view::2]) for view in (0, 1))
    predicted = [head_by_hand(objective.predictor, view) for view in (first, second)]
    negative = [
        -cosine(predicted[0][i], second[i]) / 2 - cosine(predicted[1][i], first[i]) / 2 for i in range(len(first))
    ]
    assert loss_of(objective, features) == pytest.approx(1 + np.mean(negative), rel=1e-9)


def test_the_projector_ends_in_a_norm_without_affine():
    objective = built("simsiam", projector_width=6, predictor_width=3)
    last = objective.projector[-1]
    assert isinstance(last, nn.BatchNorm1d) and not [*last.parameters()] and not [*last.buffers()]
    assert not isinstance(objective.predictor[-1], nn.BatchNorm1d)
    for view in objective.projected(two_view_features(9)):
        assert torch.allclose(view.mean(0), torch.zeros(6).double(), atol=1e-9)
        assert torch.allclose(view.var(0, correction=0), torch.ones(6).double(), atol=1e-3)


def test_the_gradient_goes_through_the_prediction_alone():
    """The gradient is that of a loss whose targets are constants."""
    objective, features = built("simsiam", projector_width=None, predictor_width=3), two_view_features(5)
    text = features["text"].requires_grad_()
    (loss,) = objective.batch_loss(features).values()
    (found,) = torch.autograd.grad(loss, text)
    for this, other in ((0, 1), (1, 0)):
        view, target = text.detach()[this::2].requires_grad_(), text.detach()[other::2]
        similarity = nn.functional.cosine_similarity(objective.predictor(view), target).mean()
        (expected,) = torch.autograd.grad(-similarity / 2, view)
        assert torch.allclose(found[this::2], expected, atol=1e-12)
