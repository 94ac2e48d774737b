"""Every figure of `textssl evaluate` beside a plain scikit-learn, scipy or numpy script on the same features.

The scripts follow the documented protocol and call none of the package's measuring code: what they share with it are
the texts, the split and the features.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import mode, spearmanr
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, ndcg_score, v_measure_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from tests.evaluation.folders import save_model, topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.evaluation.tasks.test_retrieval import write_titles
from tests.evaluation.tasks.test_similarity import write_pairs
from textssl.commands.evaluate import evaluate
from textssl.evaluation.suite import load_suite
from textssl.inference.encoders import load_encoder

C_GRID = [0.01, 0.1, 1.0, 10.0, 100.0]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What `evaluate` gives, and {task: its features}."""
    folder = tmp_path_factory.mktemp("independent")
    write_labelled(folder / "topics.csv", *topics(240, noise=0.3))
    write_pairs(folder / "pairs.csv", 40)
    write_titles(folder / "titles.jsonl")
    (folder / "own.yaml").write_text(
        "tasks:\n- {name: mine, path: topics.csv}\n"
        "- {name: pairs, path: pairs.csv, kind: similarity}\n"
        "- {name: groups, path: topics.csv, kind: clustering, starts: 3}\n"
        "- {name: titles, path: titles.jsonl, kind: retrieval}\n"
        "- {name: shape, path: titles.jsonl, kind: geometry}\n"
        "max_tokens: 16\ndraws: 3\nshots: [8]\nseed: 5\n"
    )
    model = save_model(folder / "model", "bert")
    return evaluate(model, folder / "own.yaml"), load_suite(folder / "own.yaml"), load_encoder(model, max_tokens=16)


def means(measured, task: str) -> dict[str, float]:
    return {name: figure["mean"] for name, figure in measured[0]["tasks"][task].items()}


def task_of(measured, name: str):
    return next(task for task in measured[1].tasks if task.name == name)


def fitted(features: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """Centred, scaled to mean squared length 1, C of three stratified folds: predictions and C."""
    centred = features.astype(np.float64) - features.astype(np.float64).mean(0)
    scale = np.sqrt((centred**2).sum(1).mean())
    folds = StratifiedKFold(3, shuffle=True, random_state=seed)
    search = GridSearchCV(LogisticRegression(max_iter=5_000), {"C": C_GRID}, cv=folds)
    search.fit(centred / scale, labels)
    return search.predict((test - features.astype(np.float64).mean(0)) / scale), search.best_params_["C"]


@pytest.mark.slow
def test_probes(measured):
    results, _, encoder = measured
    split, figures = task_of(measured, "mine").split, results["tasks"]["mine"]
    train, test = encoder.embed(split.train_texts), encoder.embed(split.test_texts)
    labels, truth = split.train_labels, split.test_labels

    predicted, C = fitted(train, labels, test, seed=5)
    assert figures["probe_all"]["settings"] == {"C": [C]}
    assert figures["probe_all"]["mean"] == pytest.approx(accuracy_score(truth, predicted))
    f1 = f1_score(truth, predicted, average="macro", zero_division=0)  # type: ignore[arg-type]
    assert figures["probe_all"]["macro_f1"]["mean"] == pytest.approx(f1)

    accuracies, f1 = [], []
    for draw in range(3):
        rng = np.random.default_rng([5, 8, draw])
        few = np.concatenate([rng.permutation(np.flatnonzero(labels == c))[:8] for c in range(3)])
        predicted, _ = fitted(train[few], labels[few], test, seed=5)
        accuracies.append(accuracy_score(truth, predicted))
        f1.append(f1_score(truth, predicted, average="macro", zero_division=0))  # type: ignore[arg-type]
    assert figures["probe_8"]["scores"] == pytest.approx(accuracies)
    assert figures["probe_8"]["mean"] == pytest.approx(np.mean(accuracies))
    assert figures["probe_8"]["macro_f1"]["mean"] == pytest.approx(np.mean(f1))
    assert 0.4 < figures["probe_8"]["mean"] < figures["probe_all"]["mean"] < 1


def test_nearest_neighbours(measured):
    results, _, encoder = measured
    split, figure = task_of(measured, "mine").split, results["tasks"]["mine"]["knn"]
    train, test = encoder.embed(split.train_texts), encoder.embed(split.test_texts)
    best, chosen = -1.0, 0
    for k in (1, 3, 5, 10, 20, 50):  # of equally good ones the smallest
        vote = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(train, split.train_labels)
        others = vote.kneighbors(return_distance=False)  # of each row, itself left out
        left_out = accuracy_score(split.train_labels, mode(split.train_labels[others], axis=1).mode)
        if left_out > best:
            best, chosen = left_out, k
    vote = KNeighborsClassifier(chosen, metric="cosine", algorithm="brute").fit(train, split.train_labels)
    predicted = vote.predict(test)
    assert figure["settings"] == {"k": chosen}
    assert figure["mean"] == pytest.approx(accuracy_score(split.test_labels, predicted))
    f1 = f1_score(split.test_labels, predicted, average="macro", zero_division=0)  # type: ignore[arg-type]
    assert figure["macro_f1"]["mean"] == pytest.approx(f1)


def test_similarity(measured):
    left, right, scores = task_of(measured, "pairs").sides
    cosines = np.diag(cosine_similarity(measured[2].embed(left), measured[2].embed(right)))
    assert means(measured, "pairs")["spearman"] == pytest.approx(spearmanr(cosines, scores)[0], abs=1e-9)  # type: ignore


def test_clustering(measured):
    texts, _, labels = task_of(measured, "groups").examples
    features = measured[2].embed(texts)
    scores = [
        v_measure_score(labels, KMeans(3, n_init=1, random_state=seed).fit_predict(features))  # type: ignore[arg-type]
        for seed in (5, 6, 7)
    ]
    figure = measured[0]["tasks"]["groups"]["v_measure"]
    assert (figure["scores"], figure["mean"]) == (pytest.approx(scores), pytest.approx(np.mean(scores)))


def test_retrieval(measured):
    texts = task_of(measured, "titles").texts
    cosines = cosine_similarity(measured[2].embed(texts.queries), measured[2].embed(texts.documents)).astype(np.float64)
    right = np.zeros(cosines.shape)
    right[texts.pairs[:, 0], texts.pairs[:, 1]] = 1
    order = np.argsort(-cosines, axis=1, kind="stable")
    found = np.take_along_axis(right, order, axis=1)  # (queries, documents), nearest first
    first = found.argmax(1) + 1
    expected = {
        "recall_1": (found[:, :1].sum(1) / right.sum(1)).mean(),
        "recall_10": (found[:, :10].sum(1) / right.sum(1)).mean(),
        "mrr_10": np.where(first <= 10, 1 / first, 0).mean(),
        "ndcg_10": ndcg_score(right, cosines, k=10, ignore_ties=True),
    }
    assert means(measured, "titles") == pytest.approx(expected)
    assert 0 < expected["recall_1"] < 1


def test_geometry(measured):
    texts = task_of(measured, "shape").texts
    queries = measured[2].embed(texts.queries).astype(np.float64)
    documents = measured[2].embed(texts.documents).astype(np.float64)
    gaps = queries[texts.pairs[:, 0]] - documents[texts.pairs[:, 1]]
    values = np.linalg.svd(documents, compute_uv=False)
    shares = values / values.sum() + 1e-7
    expected = {
        "alignment": (gaps**2).sum(1).mean(),
        "uniformity": np.log(np.exp(-2 * pdist(documents, "sqeuclidean")).mean()),
        "rankme": np.exp(-(shares * np.log(shares)).sum()),
        "mean_cosine": (1 - pdist(documents, "cosine")).mean(),
        "normalised_std": documents.std(0).mean() * np.sqrt(documents.shape[1]),
    }
    assert means(measured, "shape") == pytest.approx(expected, rel=1e-4)
