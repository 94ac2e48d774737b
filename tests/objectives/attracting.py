"""The control that must collapse: two spans of a document attract, and nothing keeps documents apart."""

from __future__ import annotations

from torch import Tensor

from textssl.objectives.crops import Crops
from textssl.objectives.two_views import by_view, cosines


class Attracting(Crops):
    """1 - cosine of two spans of a document; one vector for all texts solves it."""

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"attracting": (1 - cosines(*by_view(features["text"]))).mean()}
