"""finetune: learns, exports what transformers loads, tests once, resumes to the byte, and stops at bad labels."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, pipeline

from tests.evaluation.folders import CONFIGS, topics
from tests.labelled import finetune_config, write, write_pairs, write_scores
from tests.training.kills import break_and_finish, finish, start
from textssl.assembly.tuning import class_numbers
from textssl.commands.finetune import finetune
from textssl.commands.predict import predict
from textssl.config import load_config
from textssl.data.labelled.splits import read_splits
from textssl.errors import UserError
from textssl.evaluation.labelled_baselines import fit_logistic
from textssl.inference.encoders import load_encoder
from textssl.models.linear_head import LinearHead


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def digest(run: Path) -> str:
    return hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "modernbert", "llama", "gpt2"])
def test_every_family_learns_and_transformers_loads_what_comes_out(family, tmp_path):
    result = finetune(finetune_config(tmp_path, "train.max_steps=60", "optimizer.lr=5e-3", family=family))
    assert result.splits == {"train": 108, "validation": 12, "test": 30} and result.labels == [
        "kitchen",
        "music",
        "sea",
    ]
    assert result.test["accuracy"]["mean"] > 0.7, "three topics of their own words are easy"
    run = Path(result.run)
    model, report = AutoModelForSequenceClassification.from_pretrained(run / "model", output_loading_info=True)
    assert not report["missing_keys"] and model.config.id2label == {0: "kitchen", 1: "music", 2: "sea"}
    answers = lines(run / "predictions.jsonl")
    assert len(answers) == 30 and sum(one["label"] == one["true"] for one in answers) == round(
        30 * result.test["accuracy"]["mean"]
    )
    assert "text-classification" in (run / "model" / "README.md").read_text()
    assert json.loads((run / "summary.json").read_text())["test"] == result.test


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_predict_says_what_transformers_pipeline_says(family, tmp_path):
    run = Path(finetune(finetune_config(tmp_path, family=family)).run)
    texts = [*topics(12, seed=5)[0], "one", "boat " * 60]
    source = write(tmp_path / "new.jsonl", [{"text": text} for text in texts])
    made = predict(run, source, tmp_path / "out" / "labels.jsonl")
    stock: Any = pipeline("text-classification", model=str(run / "model"), top_k=None, device="cpu")
    for ours, theirs in zip(lines(made.out), stock(texts, truncation=True), strict=True):
        scores = {one["label"]: one["score"] for one in theirs}
        assert ours["label"] == theirs[0]["label"]
        assert all(abs(ours["probabilities"][name] - score) < 1e-5 for name, score in scores.items())
    assert made.texts == 14 and sum(made.counts.values()) == 14


@pytest.mark.slow
def test_pairs_with_scores_and_pairs_with_labels(tmp_path):
    scored = write_pairs(tmp_path / "scored.jsonl", scores=True)
    result = finetune(finetune_config(tmp_path, f"data.train={scored}", "evaluation.baselines=[majority,tfidf]"))
    assert set(result.test) == {"pearson", "spearman", "mse", "mae"} and result.labels == []
    assert result.baselines["majority"]["spearman"]["mean"] == 0.0 and "tfidf" in result.baselines
    model = AutoModelForSequenceClassification.from_pretrained(Path(result.run) / "model")
    assert model.config.problem_type == "regression" and model.config.num_labels == 1
    made = predict(result.run, scored, tmp_path / "scores.jsonl")
    assert all(isinstance(line["score"], float) and "text_b" in line for line in lines(made.out))
    labelled = write_pairs(tmp_path / "labelled.jsonl", scores=False)
    result = finetune(finetune_config(tmp_path, f"data.train={labelled}", out="pairs"))
    assert result.labels == ["other", "same"]


def test_a_pair_is_read_as_transformers_reads_it(tmp_path):
    labelled = write_pairs(tmp_path / "labelled.jsonl", scores=False)
    result = finetune(finetune_config(tmp_path, f"data.train={labelled}"))
    assert json.loads(Path(result.run, "model", "config.json").read_text())["textssl"] == {"texts": 2}
    stock: Any = pipeline("text-classification", model=f"{result.run}/model", top_k=None, device="cpu")
    made = predict(result.run, labelled, tmp_path / "labels.jsonl")
    for line in lines(made.out)[:5]:
        theirs = stock({"text": line["text_a"], "text_pair": line["text_b"]}, truncation=True)
        scores = {one["label"]: one["score"] for one in theirs}
        assert all(abs(line["probabilities"][name] - score) < 1e-5 for name, score in scores.items())


DEVIATION = 1.26  # of the scores of write_scores


def scored_run(folder: Path, *overrides: str, family: str = "bert", out: str = "run", **unit: Any) -> Any:
    data = write_scores(folder / f"{out}.jsonl", **unit)
    steps = ("train.max_steps=40", "evaluation.every=10")
    return finetune(finetune_config(folder, f"data.train={data}", *steps, *overrides, family=family, out=out))


def predicted(result: Any) -> np.ndarray:
    return np.array([line["score"] for line in lines(Path(result.run) / "predictions.jsonl")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "precision", "units"),
    [
        ("bert", "float32", [(1e-3, 0.0), (1.0, 2000.0)]),
        ("bert", "bfloat16", [(1e4, 2000.0)]),
        ("gpt2", "float32", [(1.0, 2000.0)]),
    ],
)
def test_what_scores_are_measured_in_changes_nothing(family, precision, units, tmp_path):
    """Splits depend on the order of scores alone; the same texts then train in the same order."""
    common = (f"train.precision={precision}", "evaluation.baselines=[majority,tfidf]")
    first = scored_run(tmp_path, *common, family=family)
    assert first.test["pearson"]["mean"] > 0.8 and first.test["mse"]["mean"] < 0.5 * DEVIATION**2
    for number, (factor, offset) in enumerate(units):
        out = f"unit-{number}"
        other = scored_run(tmp_path, *common, family=family, out=out, factor=factor, offset=offset)
        error = np.abs((predicted(other) - offset) / factor - predicted(first)).max()
        assert error < 1e-3 * DEVIATION
        for figures, expected in ((other.test, first.test), *zip(*both(other, first), strict=True)):
            assert figures["mse"]["mean"] == pytest.approx(expected["mse"]["mean"] * factor**2, rel=1e-2)
        best, before = other.summary["best"], first.summary["best"]
        assert best["step"] == before["step"] and best["value"] == pytest.approx(before["value"], abs=1e-3)


def both(one: Any, other: Any) -> tuple[list[Any], list[Any]]:
    """Figures of the same baselines of two runs."""
    assert one.baselines.keys() == other.baselines.keys() != set()
    return list(one.baselines.values()), [other.baselines[name] for name in one.baselines]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "llama", "gpt2"])
def test_figures_on_the_way_and_at_the_end_are_of_raw_scores(family, tmp_path):
    given = write_scores(tmp_path / "given.jsonl", 40, factor=10.0, offset=5.0, seed=7)
    only_last = ("evaluation.every=40", f"data.validation={given}", "evaluation.best=eval/mse")
    result = scored_run(tmp_path, *only_last, family=family, factor=10.0, offset=5.0)
    measured = lines(Path(result.run) / "metrics.jsonl")[-1]
    made = predict(result.run, given, tmp_path / "scores.jsonl")
    truth = np.array([line["score"] for line in lines(given)])
    found = np.array([line["score"] for line in lines(made.out)])
    assert measured["eval/mse"] == pytest.approx(((found - truth) ** 2).mean(), rel=1e-4)
    assert measured["eval/loss"] == measured["eval/mse"]
    assert result.test["mse"]["mean"] < (10 * DEVIATION) ** 2
    stock: Any = AutoModelForSequenceClassification.from_pretrained(Path(result.run) / "model")
    assert stock.config.problem_type == "regression"


@pytest.mark.slow
@pytest.mark.parametrize("scores", [False, True])
def test_in_bfloat16_the_test_figures_are_those_of_the_exported_model(scores, tmp_path):
    options = ("train.precision=bfloat16", "train.max_steps=12")
    result = scored_run(tmp_path, *options, offset=50.0) if scores else finetune(finetune_config(tmp_path, *options))
    answers = lines(Path(result.run) / "predictions.jsonl")
    source = write(tmp_path / "again.jsonl", [{"text": line["text"]} for line in answers])
    made = lines(predict(result.run, source, tmp_path / "made.jsonl").out)
    if scores:
        again, own = (np.array([line["score"] for line in part]) for part in (made, answers))
    else:
        again, own = (np.array([list(line["probabilities"].values()) for line in part]) for part in (made, answers))
    assert np.abs(again - own).max() < 1e-5 * DEVIATION


def test_a_regressor_goes_on_with_scores_of_another_unit(tmp_path):
    first = scored_run(tmp_path)
    start = f"model.pretrained={first.run}/model"
    still = scored_run(tmp_path, start, "train.max_steps=1", "optimizer.lr=1e-9", out="still", offset=3.0)
    np.testing.assert_allclose(predicted(still), predicted(first), atol=1e-4)


@pytest.mark.slow
def test_training_scores_that_are_all_equal_are_learned(tmp_path):
    same = [{"text": text, "score": 0.1} for text in topics(40)[0]]
    train = write(tmp_path / "same.jsonl", [*same, {"text": "another one", "score": 3.0}])
    test = write(tmp_path / "test.jsonl", [{"text": "another one", "score": 3.0}, {"text": "a wave", "score": 0.1}])
    given = (f"data.train={train}", f"data.test={test}", "data.validation_share=0", "evaluation.every=null")
    result = finetune(finetune_config(tmp_path, *given, "train.max_steps=60"))
    np.testing.assert_allclose(predicted(result), 0.1, atol=0.05)


def test_a_mean_that_the_model_cannot_hold_stops(tmp_path):
    with pytest.raises(UserError, match="and a llama has no bias in its output layer to hold it"):
        scored_run(tmp_path, family="llama", offset=2000.0)
    assert not (tmp_path / "run").exists()


def assert_kills_change_nothing(tmp_path: Path, *options: str) -> None:
    whole = finetune_config(tmp_path, *options, out="whole")
    finish(start(whole))
    killed = finetune_config(tmp_path, *options, out="killed")
    broken = break_and_finish(killed, Path(whole.out), kills=2, seed=0, most_seconds=0.15)  # of half a second
    assert broken.kills >= 1 and broken.same_bytes and broken.same_metrics
    one, other = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("whole", "killed"))
    assert one["test"] == other["test"] and one["best"] == other["best"]


@pytest.mark.slow
def test_a_killed_run_on_scores_goes_on_to_the_same_bytes(tmp_path):
    first = scored_run(tmp_path, "train.max_steps=4", "evaluation.every=4", out="first")
    data = f"data.train={write_scores(tmp_path / 'scores.jsonl', factor=7.0, offset=100.0)}"
    options = (data, f"model.pretrained={first.run}/model", "train.max_steps=36", "evaluation.every=9")
    assert_kills_change_nothing(tmp_path, *options)


@pytest.mark.slow
def test_a_killed_run_goes_goes_on_to_the_same_bytes(tmp_path):
    options = ("model.dropout=0.1", "objective.mask_rate=0.2", "train.max_steps=36", "evaluation.every=9")
    assert_kills_change_nothing(tmp_path, *options)


@pytest.mark.slow
def test_processes_and_micro_batches_change_nothing(tmp_path):
    options = ("train.precision=float64", "model.dropout=0", "optimizer.eps=1e-2", "train.max_steps=6")
    weighed = "objective={name: classification, class_weights: balanced, label_smoothing: 0.1}"
    whole = finetune_config(tmp_path, *options, weighed, out="whole")
    finish(start(whole))
    cut = finetune_config(tmp_path, *options, weighed, "train.micro_batch_size=3", out="cut")
    finish(start(cut))
    shared = finetune_config(tmp_path, *options, weighed, out="shared")
    finish(start(shared, processes=3))
    for name in ("cut", "shared"):
        assert_one_result(tmp_path / "whole", tmp_path / name, "loss")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["label", "score"])
def test_sharded_processes_change_nothing(target, tmp_path):
    options = ("train.precision=float64", "model.dropout=0", "optimizer.eps=1e-2", "train.max_steps=6")
    if target == "score":
        options += (f"data.train={write_scores(tmp_path / 'scores.jsonl', factor=7.0, offset=100.0)}",)
    finetune(finetune_config(tmp_path, *options, out="whole"))
    finish(start(finetune_config(tmp_path, *options, "train.shard=all", out="sharded"), processes=2))
    newest = tmp_path / "sharded" / "checkpoints" / "step-00000006"
    assert len(list(newest.glob("objective-*-of-00002.safetensors"))) == 2
    assert_one_result(tmp_path / "whole", tmp_path / "sharded", "loss" if target == "label" else "mse")


def assert_one_result(one: Path, other: Path, figure: str) -> None:
    """Two runs in float64 have exported the same weights, and tested them to the same figure."""
    expected, found = (load_file(run / "model" / "model.safetensors") for run in (one, other))
    assert all(torch.allclose(found[key], expected[key], atol=1e-9) for key in expected), other
    tests = [json.loads((run / "summary.json").read_text())["test"][figure]["mean"] for run in (one, other)]
    assert tests[0] == pytest.approx(tests[1], rel=1e-7, abs=1e-9)


@pytest.mark.slow
def test_the_best_checkpoint_is_exported_and_patience_ends_a_run(tmp_path):
    result = finetune(
        finetune_config(
            tmp_path, "train.max_steps=200", "evaluation.every=2", "evaluation.patience=3", "evaluation.best=eval/loss"
        )
    )
    evaluations = [line for line in lines(Path(result.run) / "metrics.jsonl") if "eval/loss" in line]
    losses = [line["eval/loss"] for line in evaluations]
    best = result.summary["best"]
    assert best["value"] == min(losses) and best["step"] == evaluations[int(np.argmin(losses))]["step"]
    assert result.summary["stopped_early"] and result.summary["steps"] == best["step"] + 6 < 200
    assert (Path(result.run) / "checkpoints" / f"step-{best['step']:08d}").is_dir()
    again = finetune(
        finetune_config(
            tmp_path, "train.max_steps=200", "evaluation.every=2", "evaluation.patience=3", "evaluation.best=eval/loss"
        )
    )
    assert again.summary["steps"] == result.summary["steps"] and again.test == result.test


def test_frozen_layers_stay_and_the_head_learns(tmp_path):
    frozen = finetune_config(tmp_path, "model.frozen_layers=2")
    result = finetune(frozen)
    before = torch.nn.Module.state_dict(AutoModelForSequenceClassification.from_pretrained(tmp_path / "bert"))
    after = AutoModelForSequenceClassification.from_pretrained(f"{result.run}/model").state_dict()
    for name in after:
        if name.startswith(("bert.embeddings", "bert.encoder")):
            assert torch.equal(before[name], after[name]), name
    with pytest.raises(UserError, match=r"model\.frozen_layers is 9, but the model has 2 layers"):
        finetune(finetune_config(tmp_path, "model.frozen_layers=9", out="other"))


@pytest.mark.slow
def test_several_seeds_give_an_interval_and_the_best_by_validation(tmp_path):
    result = finetune(finetune_config(tmp_path, "train.num_seeds=2", "evaluation.baselines=[tfidf,scratch]"))
    own = [seed["test"]["accuracy"]["mean"] for seed in result.seeds]
    assert [seed["seed"] for seed in result.seeds] == [0, 1]
    assert result.test["accuracy"]["mean"] == pytest.approx(np.mean(own)) and result.test["accuracy"]["scores"] == own
    assert set(result.baselines) == {"tfidf", "scratch"} and len(result.baselines["scratch"]["mcc"]["scores"]) == 2
    values = [seed["best"]["value"] for seed in result.seeds]
    assert digest(tmp_path / "run") == digest(tmp_path / "run" / f"seed-{int(np.argmax(values))}")
    whole, first = (load_config(tmp_path / "run" / name / "config.yaml") for name in ("", "seed-0"))
    assert whole.train.precision == first.train.precision != "auto" and whole.model.attention == first.model.attention


@pytest.mark.slow
def test_few_labels_contrast_beside_probe_and_plain_fine_tuning(tmp_path):
    overrides = ("data.shots=4", "objective={name: pairs, temperature: 0.1}", "evaluation.every=null")
    baselines = "evaluation.baselines=[majority,tfidf,probe,finetune]"
    result = finetune(finetune_config(tmp_path, *overrides, baselines, "train.max_steps=30", family="modernbert"))
    assert result.splits == {"train": 12, "test": 30}
    assert set(result.baselines) == {"majority", "tfidf", "probe", "finetune"}
    assert result.test["accuracy"]["mean"] > max(0.5, result.baselines["majority"]["accuracy"]["mean"])
    made = predict(result.run, tmp_path / "topics.jsonl", tmp_path / "labels.jsonl")
    answers = {line["text"]: line for line in lines(made.out)}
    predictions = lines(Path(result.run) / "predictions.jsonl")
    for line in predictions:
        assert answers[line["text"]]["label"] == line["label"]
        assert answers[line["text"]]["probabilities"] == pytest.approx(line["probabilities"], abs=2e-5)
    losses = [-np.log(line["probabilities"][line["true"]]) for line in predictions]
    assert result.test["loss"]["mean"] == pytest.approx(np.mean(losses), abs=1e-3), "of the calibrated model"
    model = Path(result.run) / "model"
    assert result.temperature is not None and f"{result.temperature:.3g}" in (model / "README.md").read_text()
    head, encoder = LinearHead.load(model), load_encoder(model, max_tokens=None, normalize=None)
    splits = read_splits(load_config(f"{result.run}/config.yaml").data, 0)
    fitted = fit_logistic(encoder.embed(splits.train.texts), class_numbers(splits.train, splits.facts), 0)
    np.testing.assert_allclose(head.weight * result.temperature, fitted.coef_, rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_class_weights_and_layer_decay_change_what_is_learned(tmp_path):
    plain = finetune(finetune_config(tmp_path))
    for place, override in enumerate(
        ["objective={name: classification, class_weights: {sea: 9, music: 1, kitchen: 1}}", "optimizer.layer_decay=0.5"]
    ):
        other = finetune(finetune_config(tmp_path, override, out=f"other-{place}"))
        assert digest(Path(other.run)) != digest(Path(plain.run))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train=null", "data.train is missing"),
        ("objective={name: mlm}", "learns no labels"),
        ("objective={name: [1]}", r"objective\.name is \[1\]; it must be a name"),
        ("objective={name: regression}", "no column score"),
        ("objective={name: classification, class_weights: {sea: 1}}", "must name every label once"),
        ("evaluation.best=eval/f1", r"evaluation\.best is eval/f1, but the figures of this run are eval/accuracy"),
        ("data.shots=4; evaluation.best=eval/loss", "there are none: give data.validation"),
        ("data.validation_share=0; evaluation.best=eval/loss", r"or evaluation\.best=null"),
        ("model={config: {model_type: static}}; tokenizer=BERT", "no layers to fine-tune"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(override, message, tmp_path):
    with pytest.raises(UserError, match=message):
        finetune(finetune_config(tmp_path, *override.replace("BERT", str(tmp_path / "bert")).split("; ")))


def test_a_classifier_with_other_classes_is_a_start_like_any_other(tmp_path):
    first = finetune(finetune_config(tmp_path))
    records = [{"text": text, "label": "ab"[place % 2]} for place, text in enumerate(topics(60)[0])]
    other = write(tmp_path / "other.jsonl", records)
    second = finetune(
        finetune_config(tmp_path, f"data.train={other}", f"model.pretrained={first.run}/model", out="second")
    )
    assert second.labels == ["a", "b"] and CONFIGS["bert"]["num_hidden_layers"] == 2
