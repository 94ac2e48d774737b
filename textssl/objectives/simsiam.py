"""Bootstrapping without a teacher: the gradient is stopped at the other view."""

from __future__ import annotations

from torch import Tensor, nn

from textssl.objectives.base import Facts
from textssl.objectives.two_views import TwoViews, Width, build_head, cosines
from textssl.views.kinds import AnyView, CropsView


class SimSiam(TwoViews):
    """From one view, predict the projection of the other, which gets no gradient (arXiv:2011.10566, eq. 2 and 4).

    view: crops, or any other. projector_width: of the projector's hidden layer; null: no projector. projector_out: of
    its output, which is batch-normalised without affine; null: projector_width. predictor_width: of the predictor's
    hidden layer, narrower than its input and output; null: no predictor, without which the vectors collapse.
    """

    last_norm = True
    against_collapse = "see that there is a predictor, lower optimizer.lr, or lengthen the warmup"

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        projector_width: Width = 512,
        projector_out: Width = None,
        predictor_width: Width = 128,
    ):
        super().__init__(view, projector_width, "batch", projector_out)
        self.predictor_width = predictor_width

    def build(self, backbone: nn.Module, facts: Facts) -> None:
        super().build(backbone, facts)
        self.predictor = build_head(self.width, self.predictor_width, self.width, norm="batch")

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """1 - the mean cosine over both directions, from 0 to 2: the paper's loss plus 1."""
        first, second = self.projected(features)
        cosine = (cosines(self.predictor(first), second.detach()) + cosines(self.predictor(second), first.detach())) / 2
        return {"simsiam": (1 - cosine).mean()}
