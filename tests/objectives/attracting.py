"""The control that must collapse: two spans of a document attract, and nothing keeps documents apart."""

from __future__ import annotations

from torch import Tensor

from textssl.objectives.crops import Crops
from textssl.objectives.embedding import cosines, two_views


class Attracting(Crops):
    """1 - cosine of two spans of a document; one vector for all texts solves it."""

    def batch_loss(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"attracting": (1 - cosines(*two_views(features))).mean()}
