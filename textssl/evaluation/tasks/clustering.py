"""Clustering as a task: do groups that are found without labels agree with the classes?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import v_measure_score
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from textssl.data.labelled.labelled_set import read_labeled
from textssl.errors import UserError
from textssl.evaluation.baselines import lsa
from textssl.evaluation.figures.figure import Figure, measured
from textssl.evaluation.figures.intervals import over_draws
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.split import distinct_texts, text_hash

Finder = Callable[[np.ndarray, int, int], np.ndarray]  # features, clusters, seed -> (texts,) cluster numbers


def k_means(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """(texts,) clusters of one run of k-means."""
    return KMeans(clusters, n_init=1, random_state=seed % 2**32).fit_predict(features)  # type: ignore[arg-type]


def gaussian_mixture(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """(texts,) likeliest components of a mixture of Gaussians, started from k-means.

    Covariances are diagonal: a class has fewer texts than a full covariance has entries.
    """
    mixture = GaussianMixture(clusters, covariance_type="diag", random_state=seed % 2**32)
    return mixture.fit_predict(features.astype(np.float64))


class Clustering:
    """Figure `v_measure` of k-means with as many clusters as classes, mean over `starts` seeds.

    name: the task's. path: a labelled set (text, label); repeated texts count once. max_texts: those of lowest hash,
    so that every model sees the same ones. The set is read when it is first needed.
    """

    kind = "clustering"
    floor = "chance"
    tfidf: ClassVar[dict[str, bool] | None] = {"phrases": False, "rare_words": False}

    def __init__(self, name: str, path: str, *, max_texts: int | None = None, starts: int = 10, seed: int = 0) -> None:
        self.name, self.path, self.max_texts, self.starts, self.seed = name, path, max_texts, starts, seed

    @cached_property
    def distinct(self) -> dict[str, str]:
        """Class of each distinct text, by hash."""
        labeled = read_labeled(self.path)
        if labeled.text_b is not None or labeled.scores is not None:
            raise UserError(f"{self.path} holds pairs or scores; clustering needs the columns text and label")
        self.given, self.dropped = len(labeled), labeled.report.as_dict()
        distinct, self.conflicting = distinct_texts(labeled.texts, labeled.labels)
        return dict(sorted(distinct.items(), key=lambda item: text_hash(item[0])))

    @property
    def examples(self) -> tuple[list[str], list[str], np.ndarray]:
        """Texts, names of the classes, (texts,) class numbers. Raises UserError where there is nothing to cluster."""
        texts = list(self.distinct)[: self.max_texts]
        labels = [self.distinct[text] for text in texts]
        classes, numbers = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise UserError(f"{self.name}: all {len(texts)} texts of {self.path} have one class; clustering needs two")
        if len(texts) <= len(classes):
            raise UserError(
                f"{self.name}: {len(texts)} texts of {len(classes)} classes in {self.path}; clustering needs more "
                "texts than classes (is label the right column?)"
            )
        return texts, classes.tolist(), numbers

    def facts(self) -> dict[str, Any]:
        """How many examples stand behind the figure."""
        texts, classes, _ = self.examples
        return {
            "kind": self.kind,
            "source": self.path,
            "classes": classes,
            "texts": len(texts),
            "distinct_texts": len(self.distinct),
            "duplicates_dropped": self.given - len(self.distinct),
            "conflicting_labels": self.conflicting,
            "dropped": self.dropped,
        }

    def run(self, encoder: Any, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of an encoder; sparse features (TF-IDF) are clustered by their leading directions."""
        yield self._found_by(k_means, encoder, progress)

    def run_mixture(self, encoder: Any) -> Iterator[tuple[str, Figure]]:
        """The same for a Gaussian mixture in place of k-means."""
        yield self._found_by(gaussian_mixture, encoder)

    def _found_by(self, find: Finder, encoder: Any, progress: str | None = None) -> tuple[str, Figure]:
        texts, classes, _ = self.examples
        encoder.fit(texts)
        features = encoder.embed(texts, progress=progress)
        if hasattr(features, "tocsr"):
            features = lsa(features, self.seed)
        seeds = range(self.seed, self.seed + self.starts)
        return self._figure([clusters_of(features, len(classes), seed, find) for seed in seeds])

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """Clusters drawn at random."""
        _, classes, labels = self.examples
        rng = np.random.default_rng(self.seed)
        yield self._figure([rng.integers(len(classes), size=len(labels)) for _ in range(self.starts)])

    def _figure(self, found: list[np.ndarray]) -> tuple[str, Figure]:
        """found: (texts,) clusters of each start. The V-measure is the harmonic mean of homogeneity and completeness
        (Rosenberg and Hirschberg 2007).
        """
        labels = self.examples[2]
        scores = [float(v_measure_score(labels, clusters)) for clusters in found]
        outcomes = Outcomes.of("v_measure", labels, np.array(found))
        return "v_measure", measured(over_draws(scores), "starts", len(labels), scores, outcomes)


def clusters_of(features: np.ndarray, clusters: int, seed: int, find: Finder = k_means) -> np.ndarray:
    """(texts,) cluster numbers."""
    # one thread: several sum in any order, and the figure would not be reproducible
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # collapsed features have fewer points than clusters
        return find(features, clusters, seed)
