"""Geometry as a task: how the features of real texts lie, with intervals, beside those of an untrained model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from textssl.errors import UserError
from textssl.evaluation.figures.figure import Figure, bounds, measured
from textssl.evaluation.figures.geometry import mean_cosine, normalised_std, pair_distances, rankme, uniformity
from textssl.evaluation.figures.intervals import Score, bootstrap, jackknife, without_parts
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.resampling import mean_of
from textssl.evaluation.text_pairs import PairTask

FIGURES: dict[str, Callable[[np.ndarray], float]] = {
    "uniformity": uniformity,
    "rankme": rankme,
    "mean_cosine": mean_cosine,
    "normalised_std": normalised_std,
}
SMALLEST = 3  # documents: leaving one out leaves a pair


class Geometry(PairTask):
    """Figures `alignment` of texts that belong together; `uniformity`, `rankme`, `mean_cosine`, `normalised_std` of
    documents.

    Arguments: as of PairTask.
    """

    kind = "geometry"
    floor = None  # there is no right answer to guess
    tfidf = None  # every text has its own words: it spreads in as many directions as there are texts

    def facts(self) -> dict[str, Any]:
        """How many examples stand behind the figures. Raises UserError for fewer than SMALLEST documents."""
        if len(self.texts.documents) < SMALLEST:
            raise UserError(
                f"{self.name}: {len(self.texts.documents)} documents in {self.path}; intervals need {SMALLEST} at least"
            )
        return super().facts()

    def run(self, encoder: Any, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of an encoder."""
        texts = self.texts
        encoder.fit(texts.documents)
        queries = encoder.embed(texts.queries, progress=progress)
        documents = encoder.embed(texts.documents, progress=progress)
        distances = pair_distances(queries[texts.pairs[:, 0]], documents[texts.pairs[:, 1]])
        low, high = bootstrap(mean_of(distances), len(distances), self.seed)
        value = float(distances.mean())
        outcomes = Outcomes.of("mean", distances)
        yield "alignment", measured(Score(value, low, high), "pairs", len(distances), outcomes=outcomes)
        for name, statistic in FIGURES.items():
            left_out = without_parts(statistic, documents, self.seed)
            score = jackknife(statistic(documents), left_out, bounds(name))
            yield (
                name,
                measured(score, "texts", len(documents), outcomes=Outcomes("parts", len(documents), (left_out,))),
            )

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """Nothing."""
        yield from ()
