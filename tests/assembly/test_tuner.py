"""Fine-tuning as a figure of a suite: class numbers that are learned, from the folder's weights or from none."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.folders import save_model, topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.inference.test_predictor import save_headed
from textssl.assembly import tuner as workflow
from textssl.assembly.tuner import folder_tuner, most_tokens, settings, suite_tuners
from textssl.commands.evaluate import evaluate
from textssl.errors import UserError
from textssl.evaluation.suite import load_suite
from textssl.inference.loading import weights_hash
from textssl.training.signals import StopSignals


@pytest.fixture
def quick(monkeypatch):
    """Trainings of a few steps, at a rate for tiny models."""
    stock = settings

    def short(*arguments) -> dict:
        made = stock(*arguments)
        made["optimizer"]["lr"] = 5e-3
        made["train"]["max_steps"] = 20
        return made

    monkeypatch.setattr(workflow, "settings", short)


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "bert", "bert")


def numbered(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of three topics as classes 0, 2 and 5."""
    texts, names = topics(count, seed, noise=0.1)
    return texts, np.array([{"kitchen": 0, "music": 2, "sea": 5}[name] for name in names])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["finetune", "contrast"])
def test_answers_are_class_numbers_of_the_training_labels(method, quick, bert, tmp_path, capfd):
    before = weights_hash(bert)
    texts, labels = numbered(48)
    test, truth = numbered(24, seed=1)
    found = folder_tuner(bert)(method, texts, labels, test, 0)
    assert found.shape == (24,) and set(found.tolist()) <= {0, 2, 5}
    assert (found == truth).mean() > 0.5, "a third by chance"
    assert weights_hash(bert) == before and list(tmp_path.iterdir()) == []
    assert np.array_equal(found, folder_tuner(bert)(method, texts, labels, test, 0))
    assert capfd.readouterr().out == ""


@pytest.mark.slow
def test_few_labels_and_many_are_set_aside_differently(quick, bert, monkeypatch):
    taken, stock = [], workflow.tune
    monkeypatch.setattr(
        workflow, "tune", lambda config, splits, *rest: taken.append(splits) or stock(config, splits, *rest)
    )
    for count in (workflow.FEW - 20, workflow.FEW + 1):
        folder_tuner(bert)("finetune", *numbered(count), numbered(6, seed=1)[0], 0)
    few, many, again = ({name: len(part) for name, part in splits.parts.items()} for splits in taken)
    assert few == {"train": workflow.FEW - 20, "test": 6}
    assert many["train"] + many["validation"] == workflow.FEW + 1 and many["validation"] in (20, 21)
    assert again == many, "once for each rate"
    folder_tuner(bert)("contrast", *numbered(workflow.FEW + 1), numbered(6, seed=1)[0], 0)
    assert taken[3].validation is None and len(taken[3].train) == workflow.FEW + 1


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(1e-9, 5e-3), (5e-3, 1e-9)])
def test_validation_texts_choose_the_rate(rates, bert, monkeypatch):
    monkeypatch.setitem(workflow.RATES, "finetune", rates)
    monkeypatch.setitem(workflow.LENGTHS, "finetune", (1, 20))
    test, truth = numbered(24, seed=1)
    found = folder_tuner(bert)("finetune", *numbered(workflow.FEW + 1), test, 0)
    assert (found == truth).mean() > 0.5, "1e-9 learns nothing"


@pytest.mark.slow
def test_from_scratch_is_the_same_training_of_other_weights(quick, bert, monkeypatch):
    found, stock = [], workflow.tune

    def watched(config, *rest):
        made = stock(config, *rest)
        found.append((config.model, made.answers))
        return made

    monkeypatch.setattr(workflow, "tune", watched)
    for scratch in (False, True):
        folder_tuner(bert, scratch=scratch)("finetune", *numbered(30), numbered(6, seed=1)[0], 0)
    (own, one), (random, other) = found
    assert not own.reinitialise and random.reinitialise and own.pretrained == random.pretrained == str(bert)
    assert np.abs(one - other).max() > 1e-3


def test_steps_follow_the_labels_but_are_never_few(bert, tmp_path):
    def steps(method: str, examples: int) -> int:
        return settings(method, bert, False, examples, 1e-4, 0, tmp_path)["train"]["max_steps"]

    assert [steps("finetune", count) for count in (24, 384, 385, 3200)] == [60, 60, 65, 500]
    assert [steps("contrast", count) for count in (24, 3200)] == [60, 100]


def test_texts_are_cut_where_the_model_ends(bert, tmp_path):
    assert most_tokens(bert) == 64 and most_tokens(save_model(tmp_path / "llama", "llama")) == 128
    assert most_tokens(save_headed(tmp_path, static=True)) == 128


def suite_file(folder: Path, tuned: str) -> Path:
    write_labelled(folder / "topics.csv", *topics(90, noise=0.1))
    text = f"tasks: [{{name: mine, path: topics.csv, tuned: [{tuned}]}}]\ndraws: 2\nshots: [4]\nmax_tokens: 24\n"
    (folder / "own.yaml").write_text(text)
    return folder / "own.yaml"


def test_a_suite_without_trained_figures_has_no_tuners(bert, tmp_path):
    suite, skipped = load_suite(suite_file(tmp_path, "")), {}
    assert suite_tuners(bert, suite, skipped) == (None, None) and skipped == {}
    suite = load_suite(suite_file(tmp_path, "finetune_all"))
    assert all(suite_tuners(bert, suite, skipped)) and skipped == {}


def test_many_classes_of_few_texts_set_nothing_aside(quick, bert):
    texts, _ = numbered(workflow.FEW + 40)
    labels = np.arange(len(texts)) % 80
    assert folder_tuner(bert)("finetune", texts, labels, texts[:4], 0).shape == (4,)


def test_a_signal_ends_the_evaluation_rather_than_one_training(quick, bert, monkeypatch):
    runs = []

    def stopped(*arguments):
        runs.append(arguments)
        with StopSignals():
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(workflow, "tune", stopped)
    with pytest.raises(KeyboardInterrupt):
        folder_tuner(bert)("finetune", *numbered(workflow.FEW + 1), numbered(6, seed=1)[0], 0)
    assert len(runs) == 1


def test_several_processes_are_refused(bert, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert suite_tuners(bert, load_suite(suite_file(tmp_path, "")), {}) == (None, None)
    with pytest.raises(UserError, match="mine wants figures of fine-tuning, which one process makes"):
        suite_tuners(bert, load_suite(suite_file(tmp_path, "finetune_all")), {})


def test_a_model_does_not_change_the_suite_of_another(tmp_path):
    suite = load_suite(suite_file(tmp_path, "finetune_4"))
    mine, _ = suite.suited(None)
    suite_tuners(save_headed(tmp_path, static=True), mine, {})
    assert mine.tasks[0].tuned == () and suite.tasks[0].tuned == ("finetune_4",)


def test_a_static_encoder_keeps_contrast_alone_and_says_so(tmp_path):
    suite, skipped = load_suite(suite_file(tmp_path, "finetune_all, contrast_4, finetune_4")), {}
    tuner, scratch = suite_tuners(save_headed(tmp_path, static=True), suite, skipped)
    assert tuner is not None and scratch is None
    assert suite.tasks[0].tuned == ("contrast_4",)
    assert skipped == {"mine, fine-tuned": "a static encoder has no layers to fine-tune"}


@pytest.mark.slow
def test_evaluate_trains_what_the_suite_asks_for(quick, bert, tmp_path, capfd, monkeypatch):
    answered, stock = [], workflow.tune

    def watched(config, splits, *rest):
        made = stock(config, splits, *rest)
        assert made.answers is not None
        answered.append((config.model.reinitialise, made.answers.argmax(1), len(splits.train)))
        return made

    monkeypatch.setattr(workflow, "tune", watched)
    out = tmp_path / "results.json"
    results = evaluate(bert, suite_file(tmp_path, "finetune_all, finetune_1000"), baselines=True, out=out)
    task, beside = results["tasks"]["mine"], results["baselines"]
    assert set(task) == {"probe_4", "probe_all", "knn", "finetune_all"}, "there are no thousand labels a class"
    assert json.loads(out.read_text())["tasks"]["mine"]["finetune_all"] == json.loads(json.dumps(task["finetune_all"]))
    assert [(scratch, train) for scratch, _, train in answered] == [(False, 60), (True, 60)]
    truth = load_suite(tmp_path / "own.yaml").tasks[0].split.test_labels
    for (_, answers, _), figure in zip(answered, (task, beside["random_init"]["mine"]), strict=True):
        assert figure["finetune_all"]["mean"] == pytest.approx(np.mean(answers == truth))
        assert figure["finetune_all"]["train_examples"] == 60
    for name in ("majority", "tfidf"):
        assert beside[name]["mine"]["finetune_all"] == beside[name]["mine"]["probe_all"]
    assert "finetune_all" not in beside["random_words"]["mine"]
    assert "fine-tuned, all 60" in capfd.readouterr().out


@pytest.mark.slow
def test_evaluate_says_what_a_static_encoder_is_spared(quick, tmp_path, capfd):
    results = evaluate(save_headed(tmp_path, static=True), suite_file(tmp_path, "finetune_all, contrast_4"))
    assert "contrast_4" in results["tasks"]["mine"] and "finetune_all" not in results["tasks"]["mine"]
    assert results["skipped"] == {"mine, fine-tuned": "a static encoder has no layers to fine-tune"}
    shown = " ".join(capfd.readouterr().out.split())
    assert "mine, fine-tuned (a static encoder has no layers to fine-tune)" in shown
