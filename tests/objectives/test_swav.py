"""SwAV: the formula through Sinkhorn and the queue, frozen prototypes, and figures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.objectives.embedded import built, draw, loss_of, two_view_features
from textssl.losses.contrast import sinkhorn


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sinkhorn_by_hand(scores, epsilon, rounds):
    """arXiv:2006.09882, algorithm 1 in the appendix: prototypes times samples, whose sums are 1/K and 1/B in turn."""
    codes = np.exp(scores.T / epsilon)
    codes = codes / codes.sum()
    prototypes, samples = codes.shape
    for _ in range(rounds):
        codes = codes / codes.sum(1, keepdims=True) / prototypes
        codes = codes / codes.sum(0, keepdims=True) / samples
    return (codes * samples).T


def by_hand(objective, features, queue):
    prototypes, losses = unit(objective.prototypes.weight.detach().numpy()), []
    views = [unit(features["text"].numpy()[view::2]) for view in (0, 1)]
    for this, other in ((0, 1), (1, 0)):
        joined = np.concatenate([views[other], queue[other]])
        codes = sinkhorn_by_hand(joined @ prototypes.T, 0.05, 3)
        for sample, vector in enumerate(views[this]):
            shares = np.exp(prototypes @ vector / 0.1)
            losses.append(-np.sum(codes[sample] * np.log(shares / shares.sum())))
    return np.mean(losses)


def test_the_loss_is_the_formula_while_the_queue_fills():
    objective = built("swav", num_prototypes=5, queue_size=7)
    queue = np.zeros((2, 0, 8))
    for step in range(4):
        features = {**two_view_features(3), "text": draw(6, seed=step)}
        assert loss_of(objective, features) == pytest.approx(by_hand(objective, features, queue), rel=1e-9)
        objective.commit(features, 0.5)
        new = np.stack([unit(features["text"].numpy()[view::2]) for view in (0, 1)])
        queue = np.concatenate([new, queue], axis=1)[:, :7]
        assert int(objective.filled) == queue.shape[1] and np.allclose(objective.queue[:, : queue.shape[1]], queue)


def test_assignments_use_all_prototypes_alike_and_softmax_does_not():
    scores = F.normalize(draw(64), dim=1) @ F.normalize(draw(8, seed=1) + 2, dim=1).T
    codes = sinkhorn(scores, 0.05, 50)
    assert torch.allclose(codes.sum(1), torch.ones(64, dtype=torch.float64))
    assert torch.allclose(codes.sum(0), torch.full((8,), 8.0, dtype=torch.float64), atol=1e-3)
    assert sinkhorn(scores, 0.05, 0).sum(0).std() > 1
    extreme = sinkhorn(scores.float(), 1e-3, 3)
    assert extreme.isfinite().all()


def test_rows_that_are_absent_change_nothing():
    scores = draw(9, 4)
    present = torch.arange(9) < 5
    assert torch.allclose(sinkhorn(scores, 0.5, 3, present=present)[:5], sinkhorn(scores[:5], 0.5, 3), atol=1e-12)


def test_prototypes_are_frozen_at_first():
    objective, features = built("swav", num_prototypes=5, frozen_steps=2), two_view_features(4)
    slopes = []
    for _ in range(3):
        text = features["text"].clone().requires_grad_()
        (loss,) = objective.batch_loss({**features, "text": text}).values()
        objective.zero_grad()
        loss.backward()
        slopes.append(float(objective.prototypes.weight.grad.abs().sum()))
        assert text.grad is not None and text.grad.abs().sum() > 0
        objective.commit(features, 0.5)
    assert slopes[0] == slopes[1] == 0 and slopes[2] > 0


def test_figures_tell_whether_prototypes_are_used_and_views_agree():
    objective = built("swav", num_prototypes=8)
    with torch.no_grad():
        objective.prototypes.weight.copy_(torch.eye(8))
    spread, one = torch.eye(8).double().repeat_interleave(2, 0), torch.eye(8).double()[:1].expand(16, 8)
    figures = objective.figures({"text": spread})
    assert float(figures["swav/entropy"]) == pytest.approx(1) and float(figures["swav/agreement"]) == 1
    assert float(objective.figures({"text": one})["swav/entropy"]) == 0
    assert float(objective.figures({"text": torch.cat([one[:1], spread[:-1]])})["swav/agreement"]) < 0.2


def test_a_queue_and_a_projector_may_be_left_out_or_given():
    assert np.isfinite(loss_of(built("swav", queue_size=0, num_prototypes=3), two_view_features(3)))
    assert built("swav", projector_width=6, projector_out=4).prototypes.weight.shape == (256, 4)
