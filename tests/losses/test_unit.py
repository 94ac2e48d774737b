from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from textssl.losses.unit import unit


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_units_and_their_gradient_are_those_of_torch(dtype, bound: float):
    generator = torch.Generator().manual_seed(0)
    vectors = (
        torch.randn(7, 5, generator=generator, dtype=dtype) * torch.tensor([1e-6, 1e-3, 0.1, 1, 10, 1e3, 1e6])[:, None]
    )
    slope, found = torch.randn(7, 5, generator=generator, dtype=dtype), []
    for way in (unit, lambda rows: F.normalize(rows, dim=1)):
        rows = vectors.clone().to(dtype).requires_grad_()
        made = way(rows)
        made.backward(slope)
        found.append((made, rows.grad))
    (ours, gradient), (theirs, expected) = found
    assert torch.equal(ours, theirs)
    assert ((gradient - expected).norm(dim=1) / expected.norm(dim=1)).max() < bound


def test_a_vector_of_zeros_stays_one():
    assert torch.equal(unit(torch.zeros(2, 3)), torch.zeros(2, 3)) and unit(torch.zeros(0, 3)).shape == (0, 3)
