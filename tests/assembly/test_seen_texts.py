"""Evaluation and labelled texts that occur in the training corpus are counted, said, and written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.labelled import write_topics
from tests.tiny import make_corpus, texts, tiny_config
from textssl.assembly.seen_texts import card_lines, overlap_lines, suite_texts
from textssl.commands.evaluate import evaluate
from textssl.commands.finetune import finetune
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.evaluation.suite import load_suite

STRANGE = "The {} harbour masters of the northern coast agreed to count every boat before the {}th winter storm came."


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A pretrained run whose suite has pairs of which 8 sides stand in the corpus."""
    folder = tmp_path_factory.mktemp("seen")
    make_corpus(folder)
    seen = [text[:400].rsplit(" ", 1)[0] for text in texts()[20:28]]
    rows = [{"text_a": text, "text_b": STRANGE.format(n, n * n), "score": n} for n, text in enumerate(seen)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tasks = [{"name": "pairs", "path": "pairs.jsonl", "kind": "similarity"}]
    (folder / "suite.yaml").write_text(yaml.safe_dump({"tasks": tasks}))
    pretrain(tiny_config(folder, "mlm", f"evaluation.suite={folder}/suite.yaml", "train.max_steps=2"))
    return folder


LINE = "8 of 16 texts of pairs occur in the training corpus (8 whole, 0 with a passage of 32 tokens or more)."


@pytest.mark.slow
def test_a_run_says_it_once_and_keeps_it(run, capfd):
    summary = json.loads((run / "run" / "summary.json").read_text())
    assert summary["overlap"]["tasks"] == {"pairs": {"texts": 16, "whole": 8, "passage": 0}}
    assert f"- {LINE}" in (run / "run" / "model" / "README.md").read_text()
    given = (f"evaluation.suite={run}/suite.yaml", "evaluation.suite_every=1", "train.max_steps=2")
    pretrain(tiny_config(run, "mlm", *given, out="again"))
    assert capfd.readouterr().err.count(LINE) == 1


def test_evaluate_finds_the_corpus_beside_the_model(run, tmp_path, capfd):
    results = evaluate(run / "run", run / "suite.yaml", out=tmp_path / "out.json", card=True)
    assert results["overlap"]["tasks"]["pairs"]["whole"] == 8 and LINE in " ".join(capfd.readouterr().out.split())
    assert json.loads((tmp_path / "out.json").read_text())["overlap"] == results["overlap"]
    card = (run / "run" / "model" / "README.md").read_text()
    assert LINE in card.partition("## Evaluation")[2].partition("## Limits")[0]


def test_a_corpus_that_is_nowhere_stops_nothing(run, tmp_path, capfd):
    model = tmp_path / "model"
    (run / "run" / "model").rename(model)
    try:
        results = evaluate(model, run / "suite.yaml", card=True)
        assert not results["overlap"]["checked"] and results["tasks"]
        shown = " ".join(capfd.readouterr().out.split())
        assert "Not checked whether evaluation texts occur" in shown and "--corpus DIR." in shown
        assert str(tmp_path) not in (model / "README.md").read_text()
        given = evaluate(model, run / "suite.yaml", corpus=run / "corpus")["overlap"]
        assert given["tasks"]["pairs"]["whole"] == 8
        with pytest.raises(UserError, match="not a prepared corpus"):
            evaluate(model, run / "suite.yaml", corpus=tmp_path)
    finally:
        model.rename(run / "run" / "model")
    (run / "corpus").rename(tmp_path / "corpus")
    try:
        assert "is not a prepared corpus" in evaluate(run / "run", run / "suite.yaml")["overlap"]["why"]
    finally:
        (tmp_path / "corpus").rename(run / "corpus")


def test_finetune_looks_where_its_model_was_trained(run, tmp_path, capfd):
    write_topics(tmp_path / "topics.jsonl")
    lines = (tmp_path / "topics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    for row, text in zip(rows[:30], texts()[40:70], strict=True):
        row["text"] = text[:300].rsplit(" ", 1)[0]
    (tmp_path / "topics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"out": str(tmp_path / "tuned"), "model": {"pretrained": str(run / "run" / "model")},
              "data": {"train": str(tmp_path / "topics.jsonl"), "sequence_length": 32},
              "train": {"max_steps": 2, "batch_size": 8}, "evaluation": {"baselines": ["majority"]}}  # fmt: skip
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(values))
    result = finetune(tmp_path / "tuned.yaml")
    parts = result.overlap["tasks"]
    assert sum(part["whole"] for part in parts.values()) == 30 and set(parts) == {
        *("the train part", "the validation part", "the test part")
    }
    assert "texts of the train part occur in the training corpus" in capfd.readouterr().err
    assert json.loads((tmp_path / "tuned" / "summary.json").read_text())["overlap"] == result.overlap
    assert "of the train part occur in the training corpus" in (tmp_path / "tuned" / "model" / "README.md").read_text()


@pytest.mark.slow
def test_texts_of_every_kind_of_task_are_found():
    found = {name: len(texts) for name, texts in suite_texts(load_suite("quick"), None).items()}
    assert found["trec"] == 700 and found["bbc-clustering"] == 300 and found["news-retrieval"] > 500
    assert "wordsim" not in found and "bbc-text" not in found and found["agreement"] > 300


def test_nothing_found_is_said_too():
    one = {"checked": True, "passage_tokens": 32, "tasks": {"a": {"texts": 5, "whole": 0, "passage": 0}}}
    assert overlap_lines(one) == card_lines(one) == ["None of 5 evaluation texts was found in the training corpus."]
    assert overlap_lines({}) == card_lines({}) == []
