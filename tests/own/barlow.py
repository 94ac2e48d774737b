"""Barlow Twins on two views of a sample (arXiv:2103.03230, eq. 1)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import batch_norm

from textssl.objectives.two_views import TwoViews
from textssl.views.kinds import AnyView, CropsView


class BarlowTwins(TwoViews):
    """The cross-correlation of the two views' dimensions becomes the identity."""

    def __init__(
        self,
        view: AnyView = CropsView(min_tokens=4, max_tokens=20),  # noqa: B008
        projector_width: int = 24,
        redundancy: float = 0.005,
    ):
        super().__init__(view, projector_width, "batch")
        self.redundancy = redundancy

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        first, second = (batch_norm(view, None, None, training=True) for view in self.projected(features))
        correlation = first.T @ second / len(first)  # (width, width)
        diagonal = correlation.diagonal()
        off_diagonal = correlation.square().sum() - diagonal.square().sum()
        return {"barlow": (diagonal - 1).square().sum() + self.redundancy * off_diagonal}
