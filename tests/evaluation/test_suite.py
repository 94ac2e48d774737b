from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.folders import model, save_model, topics
from tests.evaluation.test_classification import write_labelled
from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.evaluation.features import TransformerEncoder
from textssl.evaluation.suite import load_suite, named_values, run_baselines, run_suite


@pytest.fixture
def suite(tmp_path):
    write_labelled(tmp_path / "topics.csv", *topics(200))
    (tmp_path / "own.yaml").write_text(
        "tasks:\n- {name: mine, path: topics.csv, kind: classification, max_test: 40}\n"
        "max_tokens: 32\ndraws: 3\nshots: [4]\ninitialisations: 2\n"
    )
    return load_suite(tmp_path / "own.yaml")


def test_own_file(suite, tmp_path):
    assert (suite.name, suite.max_tokens, suite.draws, suite.initialisations) == ("own", 32, 3, 2)
    assert suite.facts()["mine"]["test_examples"] == 40
    assert suite.facts()["mine"]["source"] == str(tmp_path / "topics.csv")


def test_every_model_sees_the_same_and_a_loop_can_write_it_down(suite):
    encoder = TransformerEncoder(model("modernbert"), tiny_tokenizer(), max_tokens=suite.max_tokens)
    values = dict(named_values(encoder, suite))
    assert list(values)[:2] == ["eval/mine/probe_4", "eval/mine/probe_4/macro_f1"]
    assert {"eval/mine/probe_all", "eval/mine/knn"} <= values.keys()
    figures = dict(run_suite(encoder, suite))["mine"]
    assert values["eval/mine/probe_4"] == figures["probe_4"].mean


def test_baselines(suite, tmp_path):
    baselines = dict(run_baselines(save_model(tmp_path / "model", "bert"), suite, progress=False))
    assert list(baselines) == ["majority", "tfidf", "random_init"]
    assert all(list(tasks["mine"]) == ["probe_4", "probe_all", "knn"] for tasks in baselines.values())
    untrained = baselines["random_init"]["mine"]["probe_4"]
    assert untrained.interval == "initialisations" and len(untrained.scores) == 6
    assert baselines["tfidf"]["mine"]["probe_all"].mean > baselines["majority"]["mine"]["probe_all"].mean
    assert np.isfinite([untrained.low, untrained.high]).all()


def test_named_suites_are_known_without_reading_anything():
    quick, full = load_suite("quick"), load_suite("full")
    assert [task.name for task in quick.tasks] == ["bbc", "trec", "sms", "movies"]
    assert [task.name for task in full.tasks] == ["bbc", "trec", "sms", "movies", "newsgroups"]
    assert quick.max_tokens < full.max_tokens and quick.draws >= 10
    assert all(task.max_test and task.max_train for task in quick.tasks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tasks: [{name: a, path: b.csv, kind: regression}]", "tasks.0.kind is 'regression'; there is classification"),
        ("tasks: [{name: a, pth: b.csv}]", "pth.*path"),
        ("tasks: [{name: a, path: b.csv}]\ndrws: 3", "drws.*draws"),
        ("tasks: [{name: a, path: b.csv}, {name: a, path: c.csv}]", "two tasks have the same name"),
        ("tasks: []", "names no task"),
        ("draws: 0\ntasks: [{name: a, path: b.csv}]", "draws is 0"),
        ("just words", "must hold tasks"),
        ("tasks: [", "is not YAML"),
    ],
)
def test_mistakes_in_a_suite_file(content: str, message: str, tmp_path):
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(UserError, match=message):
        load_suite(tmp_path / "s.yaml")


def test_unknown_suites():
    with pytest.raises(UserError, match="must be quick, full or a YAML file"):
        load_suite("fast")
    with pytest.raises(UserError, match="there is no suite file"):
        load_suite("nowhere.yaml")
