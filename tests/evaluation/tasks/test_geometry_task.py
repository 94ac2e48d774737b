from __future__ import annotations

import pytest

from tests.evaluation.folders import model
from tests.evaluation.tasks.test_retrieval import write_titles
from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.evaluation.figures import geometry
from textssl.evaluation.tasks.geometry_task import Geometry
from textssl.inference.features import TransformerEncoder


def test_figures_are_those_of_the_pure_functions_on_the_features(tmp_path):
    task = Geometry("g", write_titles(tmp_path / "t.jsonl"))
    encoder = TransformerEncoder(model("modernbert"), tiny_tokenizer())
    figures = dict(task.run(encoder))
    texts = task.texts
    queries, documents = encoder.embed(texts.queries), encoder.embed(texts.documents)
    expected = {
        "alignment": geometry.alignment(queries[texts.pairs[:, 0]], documents[texts.pairs[:, 1]]),
        "uniformity": geometry.uniformity(documents),
        "rankme": geometry.rankme(documents),
        "mean_cosine": geometry.mean_cosine(documents),
        "normalised_std": geometry.normalised_std(documents),
    }
    assert {name: figure.mean for name, figure in figures.items()} == pytest.approx(expected)
    assert [figure.interval for figure in figures.values()] == ["pairs", *["texts"] * 4]
    assert all(figure.low < figure.mean < figure.high for figure in figures.values())
    assert dict(task.run_floor()) == {} and task.facts()["documents"] == 40


def test_too_few_documents(tmp_path):
    with pytest.raises(UserError, match=r"g: 2 documents in .*t.jsonl; intervals need 3"):
        Geometry("g", write_titles(tmp_path / "t.jsonl"), max_documents=2).facts()
