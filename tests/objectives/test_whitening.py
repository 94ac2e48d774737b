"""W-MSE: the covariance of a whitened slice, the formula slice by slice, and slices that are too small."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.formulas import cosine, head_by_hand
from tests.objectives.embedded import built, draw, loss_of, two_view_features
from textssl.objectives.whitening import whitened


def whitened_by_hand(rows):
    """arXiv:2007.06346, section 3.1: W (v - mean) with W'W = inverse of the covariance, by Cholesky."""
    centred = rows - rows.mean(0)
    covariance = sum(np.outer(row, row) for row in centred) / (len(rows) - 1)
    inverse = np.linalg.inv(np.linalg.cholesky(covariance))
    assert np.allclose(inverse.T @ inverse, np.linalg.inv(covariance))
    return np.array([inverse @ row for row in centred])


def test_a_whitened_slice_has_covariance_one():
    rows = draw(40) @ draw(8, seed=1) + 3
    found = whitened(rows, 1e-12)
    assert torch.allclose(found.mean(0), torch.zeros(8).double(), atol=1e-9)
    assert torch.allclose(found.T.cov(), torch.eye(8).double(), atol=1e-6)
    assert np.allclose(found.numpy(), whitened_by_hand(rows.numpy()), atol=1e-6)


@pytest.mark.parametrize("slice_size, pieces", [(100, [range(24)]), (11, [range(12), range(12, 24)])])
def test_the_loss_is_the_formula_in_slices(slice_size, pieces):
    options = {"projector_width": 6, "projector_out": 4, "slice_size": slice_size, "shrinkage": 1e-12}
    objective, features = built("whitening", **options), two_view_features(24)
    views = [head_by_hand(objective.projector, features["text"].numpy()[view::2]) for view in (0, 1)]
    squares = []
    for piece in pieces:
        first, second = (whitened_by_hand(view[piece]) for view in views)
        squares += [2 - 2 * cosine(a, b) for a, b in zip(first, second, strict=True)]
    assert loss_of(objective, features) == pytest.approx(np.mean(squares), rel=1e-6)


@pytest.mark.parametrize("rows", [draw(5), draw(5)[[0, 0, 0, 0, 0]], draw(1), draw(20)[:, [0] * 8]])
@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_few_rows_and_equal_dimensions_are_no_error(rows, kind):
    rows = rows.to(kind).requires_grad_()
    found = whitened(rows, 1e-3)
    found.square().sum().backward()
    assert found.isfinite().all() and rows.grad is not None and rows.grad.isfinite().all()


def test_the_scale_of_the_vectors_does_not_matter():
    rows = draw(20)
    assert torch.allclose(whitened(rows, 0.01), whitened(1e4 * rows + 5, 0.01), atol=1e-8)
    assert not torch.allclose(whitened(rows, 0.01), whitened(rows, 1.0), atol=0.1)
    whole = whitened(rows, 1.0)  # centred and scaled, nothing else
    assert torch.allclose(whole / whole.norm(), (rows - rows.mean(0)) / (rows - rows.mean(0)).norm())
