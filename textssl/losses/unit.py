"""Vectors brought to length 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SHORTEST = 1e-12  # as in torch.nn.functional.normalize


def unit(vectors: Tensor) -> Tensor:
    """(rows, width) vectors over their lengths, as torch's `normalize` has them, with a gradient that reads them fewer
    times: 3 passes over the array in the place of 10. Once differentiable."""
    return _Unit.apply(vectors)  # type: ignore[no-any-return]


class _Unit(torch.autograd.Function):
    """y = x / |x|, so dx = (dy - y (y . dy)) / |x|."""

    @staticmethod
    def forward(ctx, vectors):
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp_min_(SHORTEST)
        units = vectors / lengths
        ctx.save_for_backward(units, lengths)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        units, lengths = ctx.saved_tensors
        along = torch.linalg.vecdot(units, grad, dim=1)[:, None]
        return torch.addcmul(grad, units, along, value=-1).div_(lengths)
