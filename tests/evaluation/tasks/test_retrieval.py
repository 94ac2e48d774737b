from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from tests.evaluation.folders import model, topics
from tests.tiny import tiny_tokenizer
from textssl.evaluation.baselines import RandomWords, Tfidf
from textssl.evaluation.tasks import retrieval
from textssl.evaluation.tasks.retrieval import Retrieval, query_scores, ranks
from textssl.evaluation.text_pairs import TextPairs
from textssl.inference.features import TransformerEncoder


def write_titles(path: Path, count: int = 40) -> str:
    """Titles, the first words of a text, and bodies, the rest of it with some of the title."""
    texts, _ = topics(count, noise=1)
    with path.open("w") as file:
        for text in texts:
            words = text.split()
            file.write(json.dumps({"title": " ".join(words[:3]), "text": " ".join(words[1:])}) + "\n")
    return str(path)


def unit(count: int, width: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def reference(queries: np.ndarray, documents: np.ndarray, pairs: np.ndarray) -> dict[str, float]:
    """The definitions, one query at a time; nDCG by scikit-learn."""
    similarity = queries @ documents.T
    found: dict[str, list[float]] = {"recall_1": [], "recall_10": [], "mrr_10": []}
    relevance = np.zeros_like(similarity)
    relevance[pairs[:, 0], pairs[:, 1]] = 1
    for row, right in zip(similarity, relevance, strict=True):
        hits = right[np.argsort(-row)]
        found["recall_1"].append(hits[:1].sum() / hits.sum())
        found["recall_10"].append(hits[:10].sum() / hits.sum())
        found["mrr_10"].append(1 / (1 + hits.argmax()) if hits[:10].any() else 0)
    return {name: float(np.mean(values)) for name, values in found.items()} | {
        "ndcg_10": float(ndcg_score(relevance, similarity, k=10))
    }


def test_figures_are_the_definitions_with_several_right_documents_a_query(monkeypatch):
    queries, documents = unit(30, 8, 0), unit(50, 8, 1)
    pairs = np.array([(query, query) for query in range(30)] + [(query, 30 + query) for query in range(20)])
    documents[:30] += 0.5 * queries  # not all hopeless
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    found = query_scores(ranks(queries, documents, pairs), pairs[:, 0])
    assert {name: values.mean() for name, values in found.items()} == pytest.approx(
        reference(queries, documents, pairs)
    )
    assert 0.05 < found["mrr_10"].mean() < 0.95
    monkeypatch.setattr(retrieval, "BLOCK_NUMBERS", 200)  # four queries at a time
    again = query_scores(ranks(queries, documents, pairs), pairs[:, 0])
    assert all((again[name] == values).all() for name, values in found.items())


def test_task_on_a_model_is_the_definition_on_its_features(tmp_path):
    task = Retrieval("titles", write_titles(tmp_path / "t.jsonl"))
    encoder = TransformerEncoder(model("bert"), tiny_tokenizer())
    figures = dict(task.run(encoder))
    texts = task.texts
    expected = reference(encoder.embed(texts.queries), encoder.embed(texts.documents), texts.pairs)
    assert {name: figure.mean for name, figure in figures.items()} == pytest.approx(expected, abs=1e-6)
    assert all(figure.interval == "queries" and figure.test_examples == 40 for figure in figures.values())
    assert all(figure.low <= figure.mean <= figure.high for figure in figures.values())


def test_shared_words_find_documents_and_chance_does_not(tmp_path):
    task = Retrieval("titles", write_titles(tmp_path / "t.jsonl"))
    chance = dict(task.run_floor())
    for encoder in (Tfidf(phrases=False, rare_words=True), RandomWords()):
        figures = dict(task.run(encoder))
        assert list(figures) == list(chance) == ["recall_1", "recall_10", "mrr_10", "ndcg_10"]
        assert all(figures[name].low > chance[name].mean for name in chance)


def test_chance_is_the_mean_over_random_orders():
    count, rng = 15, np.random.default_rng(0)
    found = query_scores(rng.integers(1, count + 1, size=40_000), np.arange(40_000))
    task = Retrieval("any", "nowhere")
    task.__dict__["texts"] = TextPairs(["q"] * 2, ["d"] * count, np.zeros((2, 2), dtype=int), count, {})
    expected = {name: figure.mean for name, figure in task.run_floor()}
    assert {name: values.mean() for name, values in found.items()} == pytest.approx(expected, abs=0.01)


def test_equal_cosines_do_not_favour_the_right_document():
    features = np.ones((20, 3)) / 3**0.5
    pairs = np.stack([np.arange(20), np.arange(20)], axis=1)
    assert ranks(features, features, pairs).tolist() == list(range(1, 21))


def test_facts(tmp_path):
    facts = Retrieval("titles", write_titles(tmp_path / "t.jsonl"), max_documents=10).facts()
    assert (facts["queries"], facts["documents"], facts["distinct_documents"]) == (10, 10, 40)
    assert facts["columns"] == ["title", "text"] and facts["kind"] == "retrieval"
