"""Contrast of two spans of one document."""

from __future__ import annotations

from textssl.objectives.simcse import SimCSE
from textssl.objectives.two_views import Temperature, Width, Widths
from textssl.views.kinds import AnyView, CropsView


class Crops(SimCSE):
    """Two spans of a document attract, spans of other documents repel (arXiv:2006.03659, eq. 1; arXiv:2112.09118).

    SimCSE's loss with another view. view: crops (two spans of a document), or any other. The others: as in simcse.
    """

    term = "crops"

    def __init__(
        self,
        view: AnyView = CropsView(),  # noqa: B008 (frozen)
        temperature: Temperature = 0.05,
        symmetric: bool = False,
        matryoshka: Widths = [],  # noqa: B006 (read as a schema, never changed)
        projector_width: Width = None,
    ):
        super().__init__(view, temperature, symmetric, matryoshka, projector_width)
