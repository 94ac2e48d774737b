"""Joint embedding kept from collapse by its own statistics: variance, invariance, covariance."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor

from textssl.objectives.two_views import TwoViews, Width
from textssl.views.kinds import AnyView, CropsView

Weight = Annotated[float, Field(ge=0)]
STD, EPSILON = 1.0, 1e-4  # gamma and epsilon of eq. 1 and 2


class VICReg(TwoViews):
    """Views agree, every dimension keeps its spread, different dimensions are uncorrelated (arXiv:2105.04906, eq. 6).

    view: crops, or any other. invariance, variance, covariance: the weight of each part. projector_width: of the
    projector's hidden layer; null: no projector. projector_out: of its output; null: projector_width.
    """

    against_collapse = "raise objective.variance and objective.covariance, lower optimizer.lr, or lengthen the warmup"

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        invariance: Weight = 25.0,
        variance: Weight = 25.0,
        covariance: Weight = 1.0,
        projector_width: Width = 512,
        projector_out: Width = None,
    ):
        super().__init__(view, projector_width, "batch", projector_out)
        self.invariance, self.variance, self.covariance = invariance, variance, covariance

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """With the means of the authors' code: over dimensions in the invariance, over views in the variance."""
        first, second = self.scaled(features)
        invariance = (first - second).square().mean()
        variance = (missing_spread(first) + missing_spread(second)) / 2
        covariance = shared_covariance(first) + shared_covariance(second)
        return {"vicreg": self.invariance * invariance + self.variance * variance + self.covariance * covariance}


def missing_spread(vectors: Tensor) -> Tensor:
    """How far the standard deviations of the dimensions stay below 1, mean over dimensions (eq. 1 and 2)."""
    return (STD - (vectors.var(dim=0) + EPSILON).sqrt()).relu().mean()


def shared_covariance(vectors: Tensor) -> Tensor:
    """The squared covariances of different dimensions, summed, over the number of dimensions (eq. 3 and 4)."""
    centred = vectors - vectors.mean(0)
    covariance = centred.T @ centred / (len(vectors) - 1)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / vectors.shape[1]
