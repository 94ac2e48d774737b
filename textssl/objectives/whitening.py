"""Joint embedding of whitened vectors, which have no room to collapse."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from textssl.objectives.two_views import TwoViews, Width, cosines
from textssl.views.kinds import AnyView, CropsView


class Whitening(TwoViews):
    """Views agree after whitening, which gives every slice of the batch the covariance I (W-MSE, arXiv:2007.06346).

    view: crops, or any other. slice_size: about how many samples are whitened together; best twice the width or more.
    shrinkage: the share of the identity in the covariance that is whitened; 1 does not whiten at all. projector_width:
    of the projector's hidden layer; null: no projector. projector_out: of its output; null: projector_width.
    """

    against_collapse = "lower objective.shrinkage, lower optimizer.lr, or lengthen the warmup"

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        slice_size: Annotated[int, Field(ge=2)] = 128,
        shrinkage: Annotated[float, Field(gt=0, le=1)] = 1e-3,
        projector_width: Width = 512,
        projector_out: Width = 64,
    ):
        super().__init__(view, projector_width, "batch", projector_out)
        self.slice_size, self.shrinkage = slice_size, shrinkage

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """2 - 2 cosines of whitened views, from 0 to 4; each view of each slice is whitened by itself (section 3)."""
        views = self.projected(features)
        pieces = max(1, len(views[0]) // self.slice_size)  # samples come in random order
        first, second = (
            torch.cat([whitened(piece, self.shrinkage) for piece in view.tensor_split(pieces)]) for view in views
        )
        return {"whitening": (2 - 2 * cosines(first, second)).mean()}


def whitened(vectors: Tensor, shrinkage: float) -> Tensor:
    """Vectors less their mean, times W with W'W the inverse of their covariance: (rows, width), with covariance I.

    W is the inverse of the covariance's Cholesky factor (section 3.1). The covariance is mixed with the identity at its
    own scale, so that fewer rows than dimensions, or dimensions that are the same, are no error.
    """
    centred = vectors - vectors.mean(0)
    covariance = centred.T @ centred / max(1, len(vectors) - 1)
    scale = covariance.diagonal().mean() + torch.finfo(vectors.dtype).tiny
    identity = torch.eye(vectors.shape[1], dtype=vectors.dtype, device=vectors.device)
    mixed = (1 - shrinkage) * covariance / scale + shrinkage * identity
    factor, _ = torch.linalg.cholesky_ex(mixed)  # a failure gives NaN, and the step is skipped: no wait for the GPU
    return torch.linalg.solve_triangular(factor, centred.T, upper=False).T / scale.sqrt()
