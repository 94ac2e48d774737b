"""Similarity as a task: does the cosine of two texts, or of two words, rank pairs as people do?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from textssl.data.labelled.labelled_set import Labeled, read_labeled
from textssl.errors import UserError
from textssl.evaluation.figures.figure import Figure, exact, measured
from textssl.evaluation.figures.intervals import Score, bootstrap
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.resampling import on_all


class Similarity:
    """Figure `spearman`: rank correlation of the cosine of two texts' vectors with the given scores.

    name: the task's. path: pairs with scores (text_a, text_b, score). max_pairs: the first so many of the file.
    The set is read when it is first needed.
    """

    kind = "similarity"
    floor = "chance"
    tfidf: ClassVar[dict[str, bool] | None] = {"phrases": False, "rare_words": True}

    def __init__(self, name: str, path: str, *, max_pairs: int | None = None, seed: int = 0) -> None:
        self.name, self.path, self.max_pairs, self.seed = name, path, max_pairs, seed

    @cached_property
    def pairs(self) -> Labeled:
        labeled = read_labeled(self.path)
        if labeled.text_b is None or labeled.scores is None:
            raise UserError(
                f"{self.path} holds no pairs with scores; {self.kind} needs the columns text_a, text_b, score"
            )
        return labeled

    @property
    def sides(self) -> tuple[list[str], list[str], np.ndarray]:
        """First texts, second texts, (pairs,) scores."""
        assert self.pairs.text_b is not None and self.pairs.scores is not None
        kept = slice(self.max_pairs)
        return self.pairs.texts[kept], self.pairs.text_b[kept], np.array(self.pairs.scores[kept])

    def facts(self) -> dict[str, Any]:
        """How many examples stand behind the figure."""
        left, right, scores = self.sides
        if len(np.unique(scores)) < 2:
            raise UserError(f"{self.name}: all {len(scores)} pairs have one score; a rank correlation needs two")
        return {
            "kind": self.kind,
            "source": self.path,
            "pairs": len(left),
            "available_pairs": len(self.pairs),
            "distinct_texts": len({*left, *right}),
            "dropped": self.pairs.report.as_dict(),
        }

    def run(self, encoder: Any, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of an encoder, which has `fit(texts)` and `embed(texts, progress=...)`."""
        left, right, scores = self.sides
        texts = list(dict.fromkeys((*left, *right)))
        place = {text: row for row, text in enumerate(texts)}
        encoder.fit(texts)
        features = encoder.embed(texts, progress=progress)
        cosines = row_cosines(features[[place[text] for text in left]], features[[place[text] for text in right]])

        outcomes = Outcomes.of("spearman", cosines, scores)
        assert outcomes.statistic is not None
        low, high = bootstrap(outcomes.statistic, len(scores), self.seed)
        value = on_all(outcomes.statistic, len(scores))
        yield "spearman", measured(Score(value, low, high), "pairs", len(scores), outcomes=outcomes)

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """The figure of an answer that reads nothing."""
        yield "spearman", exact(0.0, len(self.sides[2]))


class WordSimilarity(Similarity):
    """The same for single words; without TF-IDF, in which different words have nothing in common."""

    kind = "word_similarity"
    tfidf = None


def row_cosines(left: Any, right: Any) -> np.ndarray:
    """(rows,) cosines of the rows of two matrices of unit rows, arrays or scipy sparse."""
    if hasattr(left, "tocsr"):
        return np.asarray(left.multiply(right).sum(1), dtype=np.float64).ravel()
    return (left.astype(np.float64) * right).sum(1)
