"""The model before the first step, as a line of the table."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import textssl
from tests.evaluation.folders import topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.tiny import make_corpus
from textssl.assembly.comparison import measuring
from textssl.assembly.comparison.entries import Budget, make_entries
from textssl.assembly.comparison.measuring import References, named
from textssl.assembly.comparison.start import begins_learned, export_start
from textssl.evaluation.suite import Suite
from textssl.evaluation.tasks.classification import Classification
from textssl.inference.encoders import load_encoder
from textssl.sections import ModelConfig

TABLE = {"model_type": "static", "hidden_size": 16}


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    """A table that begins with latent semantic analysis."""
    folder = tmp_path_factory.mktemp("start")
    make_corpus(folder)
    values = {
        "tokenizer": str(folder / "tokenizer"),
        "data": {"corpus": str(folder / "corpus"), "sequence_length": 64},
        "model": {"config": TABLE},
        "objective": {"name": "crops"},
        "train": {"batch_size": 8},
        "evaluation": {"every": None},
    }
    (folder / "table.yaml").write_text(yaml.safe_dump(values))
    budget = Budget.parse("100tokens")
    return make_entries([str(folder / "table.yaml")], folder / "out", budget, 1, ["config"], [])[0][0]


def test_only_what_is_not_random_is_a_start():
    assert begins_learned(ModelConfig(config=TABLE)) and begins_learned(ModelConfig(preset="static-mini"))
    assert not begins_learned(ModelConfig(config={**TABLE, "init": "random"}))
    assert begins_learned(ModelConfig(pretrained="folder"))
    assert not begins_learned(ModelConfig(pretrained="folder", reinitialise=True))
    assert begins_learned(ModelConfig(preset="modernbert-nano"))  # its token vectors are
    assert not begins_learned(ModelConfig(preset="modernbert-nano", embeddings="random"))


@pytest.mark.slow
def test_it_is_what_a_run_with_a_vanishing_step_exports(entry, tmp_path):
    export_start(entry, tmp_path / "start")
    still = ["train.max_steps=1", "optimizer={name: adamw, lr: 1e-12}", f"out={tmp_path / 'run'}"]
    textssl.pretrain(entry.source, still)
    texts = ["some words of a text", "and others"]
    start, run = (load_encoder(tmp_path / name).embed(texts) for name in ("start", "run/model"))
    np.testing.assert_allclose(start, run, atol=1e-6)
    assert not entry.folder.exists()  # nothing of it stays


@pytest.mark.slow
def test_its_figures_are_measured_once_for_a_backbone_and_seed(entry, tmp_path):
    path = write_labelled(tmp_path / "topics.csv", *topics(90, noise=0.2))
    references = References(Suite("own", [Classification("topics", path, shots=(8,))], draws=2, max_tokens=12))
    found = references.start(entry, references.suite)
    assert found is not None and references.start(entry, references.suite) is found
    assert 0 < named(found[0])["topics/probe_8"]["mean"] <= 1


def test_two_objectives_on_a_backbone_share_a_start_where_they_do_the_same_tasks(entry, monkeypatch):
    made: list[str] = []
    monkeypatch.setattr(measuring, "export_start", lambda one, folder: made.append(one.name))
    monkeypatch.setattr(measuring.Side, "of", lambda folder, suite: None)
    monkeypatch.setattr(measuring, "measured", lambda side, suite: ({}, []))
    names = ("bbc", "sts"), ("bbc", "sts"), ("bbc", "sts", "bbc-text")  # an encoder twice, then a language model
    suites = [Suite("own", [SimpleNamespace(name=name) for name in given]) for given in names]
    references = References(suites[-1])
    for suite in suites:
        references.start(entry, suite)
    assert len(made) == 2
