"""LeJEPA: predict one view's vector from the other, and hold all vectors to an isotropic Gaussian."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from textssl.objectives.base import Facts
from textssl.objectives.two_views import TwoViews, Width, build_head
from textssl.views.kinds import AnyView, CropsView

LARGEST, KNOTS = 5.0, 9  # the characteristic functions are compared at KNOTS points from 0 to LARGEST
FIRST_DRAWS = 2**40


class SIGReg(TwoViews):
    """Each view's vector predicts the other's, and along random slices all are standard normal (arXiv:2511.08544).

    view: crops, or any other. gaussian: the weight of the Gaussian part, lambda; the prediction has 1 - lambda. The
    paper's error, to the mean of the views, is a quarter of that between the views, which is this one's without a
    predictor: its lambda of 0.05 is 0.17 here.
    num_slices: random directions, drawn anew each step. predictor_width: of the predictor's hidden layer; null: no
    predictor, as in the paper. projector_width: of the projector's hidden layer; null: no projector. projector_out: of
    its output; null: projector_width.
    """

    against_collapse = "raise objective.gaussian, lower optimizer.lr, or lengthen the warmup"
    drawn: Tensor
    slices: Tensor

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        gaussian: Annotated[float, Field(ge=0, le=1)] = 0.05,
        num_slices: Annotated[int, Field(gt=0)] = 256,
        predictor_width: Width = None,
        projector_width: Width = 512,
        projector_out: Width = 64,
    ):
        super().__init__(view, projector_width, "batch", projector_out)
        self.gaussian, self.num_slices, self.predictor_width = gaussian, num_slices, predictor_width

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.predictor = build_head(self.width, self.predictor_width, self.width, norm="batch")
        self.register_buffer("drawn", torch.randint(FIRST_DRAWS, (1,)))  # another beginning for another seed
        self.register_buffer("slices", directions(int(self.drawn), self.width, self.num_slices))

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """(1 - gaussian) times the mean squared error per dimension + gaussian times the mean test statistic."""
        first, second = self.scaled(features)
        errors = (self.predictor(first) - second).square() + (self.predictor(second) - first).square()
        statistic = torch.cat([epps_pulley(view @ self.slices) for view in (first, second)]).mean()
        return {"sigreg": (1 - self.gaussian) * errors.mean() / 2 + self.gaussian * statistic}

    @torch.no_grad()
    def commit(self, features: dict[str, Tensor], progress: float) -> None:
        self.drawn.add_(1)
        self.slices.copy_(directions(int(self.drawn), *self.slices.shape))


def directions(number: int, width: int, count: int) -> Tensor:
    """(width, count) random unit columns, the same wherever the number is the same."""
    drawn = torch.randn(width, count, generator=torch.Generator().manual_seed(number))
    return drawn / drawn.norm(dim=0)


def epps_pulley(values: Tensor) -> Tensor:
    """(columns,) how far each column is from standard normal: the test of Epps and Pulley (arXiv:2511.08544, sec. 4.2).

    values: (rows, columns). rows * integral over t of |mean exp(i t x) - exp(-t^2 / 2)|^2 exp(-t^2 / 2), by the
    trapezoid rule; the integrand is even, so that positive t are enough.
    """
    places = torch.linspace(0, LARGEST, KNOTS, dtype=values.dtype, device=values.device)
    normal = (-places.square() / 2).exp()  # its characteristic function, and the weight
    angles = values.unsqueeze(2) * places  # (rows, columns, knots)
    error = (angles.cos().mean(0) - normal).square() + angles.sin().mean(0).square()
    return 2 * len(values) * torch.trapezoid(error * normal, places, dim=1)
