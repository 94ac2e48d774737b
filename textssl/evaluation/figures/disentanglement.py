"""Does each dimension of a code stand for one factor? Disentanglement, completeness and informativeness (DCI)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import RandomForestClassifier

TREES, DEPTH = 40, 12
LOOKED_AT = 64  # dimensions at each split; with fewer, unimportant ones get a share
TEST_SHARE = 0.25


@dataclass(frozen=True)
class Disentanglement:
    """Scores from 0 to 1 (Eastwood and Williams 2018, section 3).

    disentanglement: how far a dimension matters to one factor alone, mean over dimensions weighted by importance.
    completeness: how far a factor is held by one dimension, mean over factors. informativeness: accuracy of each factor
    from all dimensions, less chance, as a share of what is possible; mean over factors. importances: (dimensions,
    factors), each column sums to 1. accuracies: (factors,) on sentences that were not learned from.
    """

    disentanglement: float
    completeness: float
    informativeness: float
    importances: np.ndarray
    accuracies: np.ndarray


def disentanglement(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> Disentanglement:
    """The scores of codes, (examples, dimensions), for factors, (examples, factors) numbers of values. Importances are
    those of random forests that predict each factor from the code."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(codes))
    split = int(len(codes) * (1 - TEST_SHARE))
    train, test = order[:split], order[split:]
    columns, accuracies, informative = [], [], []
    for values in factors.T:
        forest = RandomForestClassifier(
            TREES, max_depth=DEPTH, random_state=seed, max_features=min(LOOKED_AT, codes.shape[1])
        )
        forest.fit(codes[train], values[train])
        columns.append(forest.feature_importances_)
        accuracies.append(float((forest.predict(codes[test]) == values[test]).mean()))
        chance = float(np.bincount(values[test]).max() / len(test))
        informative.append(max(0.0, (accuracies[-1] - chance) / max(1e-12, 1 - chance)))
    importances = np.stack(columns, axis=1)
    weights = importances.sum(1) / importances.sum()
    of_dimensions = 1 - entropy_share(importances)
    return Disentanglement(
        disentanglement=float(weights @ of_dimensions),
        completeness=float((1 - entropy_share(importances.T)).mean()),
        informativeness=float(np.mean(informative)),
        importances=importances,
        accuracies=np.array(accuracies),
    )


def entropy_share(rows: np.ndarray) -> np.ndarray:
    """(rows,) entropy of each row as a distribution, as a share of the largest possible; 1 for a row of zeros."""
    total = rows.sum(1, keepdims=True)
    shares = np.divide(rows, total, out=np.full_like(rows, 1 / rows.shape[1]), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(1) / np.log(rows.shape[1])
