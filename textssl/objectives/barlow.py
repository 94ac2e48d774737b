"""Redundancy reduction: the cross-correlation of the dimensions of two views becomes the identity."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import batch_norm

from textssl.objectives.two_views import EPSILON, TwoViews, Width
from textssl.views.kinds import AnyView, CropsView


class Barlow(TwoViews):
    """Each dimension correlates with itself in the other view, and with no other dimension (arXiv:2103.03230, eq. 1).

    view: crops, or any other. redundancy: the weight of the correlations between different dimensions. projector_width:
    of the projector's hidden layer; null: no projector. projector_out: of its output; null: projector_width.
    """

    against_collapse = "raise objective.redundancy, lower optimizer.lr, or lengthen the warmup"

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        redundancy: Annotated[float, Field(ge=0)] = 0.005,
        projector_width: Width = 512,
        projector_out: Width = None,
    ):
        super().__init__(view, projector_width, "batch", projector_out)
        self.redundancy = redundancy

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Squared deviations of the correlations from the identity, summed; off the diagonal times `redundancy`."""
        correlation = cross_correlation(*self.projected(features))
        diagonal = correlation.diagonal()
        others = correlation.square().sum() - diagonal.square().sum()
        return {"barlow": (diagonal - 1).square().sum() + self.redundancy * others}


def cross_correlation(first: Tensor, second: Tensor) -> Tensor:
    """(width, width): of each dimension of the first views with each of the second, over the samples (eq. 2)."""
    first, second = (batch_norm(view, None, None, training=True, eps=EPSILON) for view in (first, second))
    return first.T @ second / len(first)
