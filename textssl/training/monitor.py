"""Watching features while they are trained: how far they spread, and the alarm when they collapse."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from textssl.evaluation.figures.geometry import mean_cosine, normalised_std, rankme
from textssl.objectives.base import Watched

MOST_ROWS = 256  # looked at: the singular values of more would cost as much as a step
SMALLEST_STD = 0.1  # of 1 for features that spread evenly; a mean cosine of 0.99 of random pairs
SMALLEST_RANK = 5.0  # of up to min(rows, width)
FEW_ROWS = 16  # of fewer the rank says nothing
PATIENCE = 3  # looks in a row: untrained transformers begin with narrow features, which widen within some steps


class Monitor:
    """Figures of the features of a step, and whether they have collapsed."""

    def __init__(self) -> None:
        self.collapsed_in_row = 0
        self.announced = False
        self.figures: dict[str, float] = {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that a run that is stopped again and again still sees a collapse."""
        return {"collapsed_in_row": self.collapsed_in_row, "announced": self.announced}

    def restore(self, state: dict[str, Any]) -> None:
        self.collapsed_in_row, self.announced = state["collapsed_in_row"], state["announced"]

    @torch.no_grad()
    def look(self, watched: Watched) -> dict[str, float]:
        """Figures by name: `features/...` of the encoder's vectors, `projector/...` where there is a projector.

        normalised_std (1 spread evenly, 0 one point), rankme, mean_cosine of random pairs; positive_similarity and
        negative_similarity of what the loss sees.
        """
        figures = spread(watched.encoder, "features")
        if watched.projector is not None:
            figures |= spread(watched.projector, "projector")
        if watched.anchors is not None and watched.positives is not None and len(watched.anchors) > 1:
            anchors, positives = (
                unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
                for unit in (rows(watched.anchors), rows(watched.positives))
            )
            similarities = anchors @ positives.T
            count = len(similarities)
            figures["features/positive_similarity"] = float(np.trace(similarities) / count)
            others = similarities.sum() - np.trace(similarities)
            figures["features/negative_similarity"] = float(others / (count * (count - 1)))
        self.figures = figures
        if len(watched.encoder) >= FEW_ROWS:  # fewer say nothing, neither way
            low = figures["features/normalised_std"] < SMALLEST_STD or self.narrow(watched)
            self.collapsed_in_row = self.collapsed_in_row + 1 if low else 0
        return figures

    def narrow(self, watched: Watched) -> bool:
        """Whether the features have lost all but a few directions."""
        wide = watched.ranked and watched.encoder.shape[1] >= FEW_ROWS
        return wide and self.figures["features/rankme"] < SMALLEST_RANK

    def alarm(self, objective: str, advice: str) -> str | None:
        """What has happened and what may help, once; None while all is well. advice: of the method."""
        if self.announced or self.collapsed_in_row < PATIENCE:
            return None
        self.announced = True
        std, rank, cosine = (self.figures[f"features/{name}"] for name in ("normalised_std", "rankme", "mean_cosine"))
        if std < SMALLEST_STD:
            what = "all texts get nearly the same vector"
            why = advice
        else:
            what = "the vectors span only a few directions"
            why = f"the task can be solved with little information: harder views or a projector may help; {advice}"
        figures = f"spread {std:.3f} of 1, effective rank {rank:.1f}, mean cosine of random pairs {cosine:.3f}"
        return f"the features of {objective} have collapsed: {what} ({figures}). Likely cause: {why}"


def spread(features: Tensor, name: str) -> dict[str, float]:
    sample = rows(features)
    return {
        f"{name}/normalised_std": normalised_std(sample),
        f"{name}/rankme": rankme(sample),
        f"{name}/mean_cosine": mean_cosine(sample),
    }


def rows(features: Tensor) -> np.ndarray:
    """The first rows, as numpy."""
    return features[:MOST_ROWS].detach().double().cpu().numpy()
