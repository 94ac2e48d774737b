"""What a model makes of a user's texts: neighbours, clusters with words that name them, paths between texts, a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from textssl.evaluation.terms import script_tfidf

STEPS = 7  # points on the path between two texts, both ends included
MAP_WIDTH, PERPLEXITY = 50, 30
NAMING_WORDS = 6


class Cluster(NamedTuple):
    """texts: places of its texts, those nearest to the centroid first. words: those that they use more than others."""

    texts: np.ndarray
    words: list[str]


def nearest(vectors: np.ndarray, wanted: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(wanted, count) places and cosines of the nearest rows. vectors, wanted: rows of length 1."""
    cosines = wanted @ vectors.T
    places = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return places, np.take_along_axis(cosines, places, axis=1)


def way(vectors: np.ndarray, start: np.ndarray, end: np.ndarray) -> list[tuple[float, int, float]]:
    """(share of the path, place of the nearest text, cosine) along the great circle from one vector to another."""
    angle = float(np.arccos(np.clip(start @ end, -1, 1)))
    found = []
    for share in np.linspace(0, 1, STEPS):
        if angle < 1e-6:
            point = start
        else:
            point = (np.sin((1 - share) * angle) * start + np.sin(share * angle) * end) / np.sin(angle)
        point = point / max(1e-12, float(np.linalg.norm(point)))
        place, cosine = nearest(vectors, point[None], 1)
        found.append((float(share), int(place[0, 0]), float(cosine[0, 0])))
    return found


def clusters(texts: Sequence[str], vectors: np.ndarray, count: int, seed: int = 0) -> list[Cluster]:
    """Clusters of k-means on vectors of length 1, the largest first.

    The words that name one have the highest mean TF-IDF weight in its texts, less that in all texts.
    """
    count = min(count, len(texts))
    groups = KMeans(count, n_init=4, random_state=seed).fit(vectors)  # type: ignore[arg-type]
    _, counter = script_tfidf(list(texts), phrases=False, rare=False)
    weights = counter.transform(texts)
    names = counter.get_feature_names_out()
    overall = np.asarray(weights.mean(0)).ravel()
    found = []
    for number in range(count):
        members = np.flatnonzero(groups.labels_ == number)
        if not len(members):
            continue
        near = members[np.argsort(-(vectors[members] @ groups.cluster_centers_[number]), kind="stable")]
        excess = np.asarray(weights[members].mean(0)).ravel() - overall
        best = np.argsort(-excess, kind="stable")[:NAMING_WORDS]
        found.append(Cluster(near, [str(names[place]) for place in best if excess[place] > 0]))
    return sorted(found, key=lambda one: -len(one.texts))


def plane(vectors: Any) -> np.ndarray:
    """(texts, 2) coordinates on a map: `neighbour_map`, or for few texts the first two principal components."""
    if len(vectors) <= 3 * PERPLEXITY:
        return np.pad(components(vectors), ((0, 0), (0, 2)))[:, :2]
    return neighbour_map(vectors)


def components(vectors: Any) -> np.ndarray:
    """(texts, MAP_WIDTH or fewer) the first principal components."""
    features = np.asarray(vectors, dtype=np.float64)
    width = min(MAP_WIDTH, *features.shape)
    return PCA(width, random_state=0, svd_solver="full").fit_transform(features)


def neighbour_map(vectors: Any) -> np.ndarray:
    """(texts, 2) coordinates in which neighbours stay neighbours: t-SNE (van der Maaten and Hinton 2008) of the first
    principal components; for more than PERPLEXITY texts."""
    reduced = components(vectors)
    return TSNE(perplexity=PERPLEXITY, init="pca", random_state=0).fit_transform(reduced)
