"""Retrieval as a task: is the text that belongs to a query among the nearest?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from textssl.evaluation.figures.figure import Figure, exact, measured
from textssl.evaluation.figures.intervals import Score, bootstrap
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.resampling import mean_of
from textssl.evaluation.text_pairs import PairTask

DEPTH = 10
BLOCK_NUMBERS = 2**24  # of the similarity matrix that are in memory at once


class Retrieval(PairTask):
    """Figures `recall_1`, `recall_10`, `mrr_10` and `ndcg_10`: documents ranked by cosine for each query.

    Arguments: those of PairTask; max_documents caps the documents to be found, and with them the queries.
    """

    kind = "retrieval"
    floor = "chance"
    tfidf: ClassVar[dict[str, bool] | None] = {"phrases": False, "rare_words": True}

    def run(self, encoder: Any, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of an encoder; intervals over queries."""
        texts = self.texts
        encoder.fit(texts.documents)
        queries = encoder.embed(texts.queries, progress=progress)
        documents = encoder.embed(texts.documents, progress=progress)
        for name, values in query_scores(ranks(queries, documents, texts.pairs), texts.pairs[:, 0]).items():
            low, high = bootstrap(mean_of(values), len(values), self.seed)
            value = float(values.mean())
            yield (
                name,
                measured(
                    Score(value, low, high),
                    "queries",
                    len(values),
                    outcomes=Outcomes.of("mean", values),
                ),
            )

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """What documents in any order give on average, for queries with one right document."""
        documents, queries = len(self.texts.documents), len(self.texts.queries)
        places = np.arange(1, min(DEPTH, documents) + 1)
        yield "recall_1", exact(1 / documents, queries)
        yield "recall_10", exact(len(places) / documents, queries)
        yield "mrr_10", exact(float((1 / places).sum()) / documents, queries)
        yield "ndcg_10", exact(float((1 / np.log2(1 + places)).sum()) / documents, queries)


def ranks(queries: Any, documents: Any, pairs: np.ndarray) -> np.ndarray:
    """(pairs,) places, from 1, of each pair's document among all documents by cosine with its query.

    queries, documents: unit rows, arrays or scipy sparse. pairs: (pairs, 2) rows of both. Of equal cosines the one that
    stands first in `documents` comes first.
    """
    found = np.empty(len(pairs), dtype=np.int64)
    count = documents.shape[0]
    rows = max(1, BLOCK_NUMBERS // count)
    for start in range(0, queries.shape[0], rows):
        similarity = queries[start : start + rows] @ documents.T
        similarity = np.asarray(similarity.toarray() if hasattr(similarity, "toarray") else similarity)
        for place in np.flatnonzero((pairs[:, 0] >= start) & (pairs[:, 0] < start + rows)):
            query, document = pairs[place]
            row = similarity[query - start]
            own = row[document]
            found[place] = 1 + np.count_nonzero(row > own) + np.count_nonzero(row[:document] == own)
    return found


def query_scores(ranks: np.ndarray, queries: np.ndarray) -> dict[str, np.ndarray]:
    """Each figure for each query, (queries,), from the ranks of its right documents.

    ranks: (pairs,) from 1. queries: (pairs,) number of the query, every number from 0 at least once. Recall is the
    share of the right documents among the first k, MRR the inverse rank of the first right one (0 beyond DEPTH), nDCG
    has gain 1 for a right document, divided by that of the best order (Järvelin and Kekäläinen 2002).
    """
    right = np.bincount(queries)  # right documents of each query
    near = ranks <= DEPTH
    gains = np.bincount(queries, near / np.log2(1 + ranks))
    best = np.cumsum(1 / np.log2(1 + np.arange(1, DEPTH + 1)))
    first = np.full(len(right), np.inf)
    np.minimum.at(first, queries, ranks)
    return {
        "recall_1": np.bincount(queries, ranks <= 1) / right,
        "recall_10": np.bincount(queries, near) / right,
        "mrr_10": np.where(first <= DEPTH, 1 / first, 0.0),
        "ndcg_10": gains / best[np.minimum(right, DEPTH) - 1],
    }
