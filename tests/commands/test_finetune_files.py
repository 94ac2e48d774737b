"""Bad labelled files, keys that do nothing, seeds and baselines of finetune: one clear word, and no wrong figure."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

from tests.evaluation.folders import topics
from tests.labelled import finetune_config, write, write_topics
from textssl.assembly import finetune_baselines as beside
from textssl.commands.finetune import finetune, over_seeds
from textssl.commands.predict import predict
from textssl.commands.pretrain import pretrain
from textssl.config import load_config
from textssl.data.labelled.splits import read_splits
from textssl.errors import UserError
from textssl.inference.encoders import load_encoder
from textssl.report.finetuned import result_tables


def labelled(file: Path, labels: list, count: int = 60) -> Path:
    texts = topics(count)[0]
    return write(file, [{"text": text, "label": labels[at % len(labels)]} for at, text in enumerate(texts)])


def run_folders(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith("run")]


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"], "all 60 records have the label 'a'"),
        (["a", 1], "is a number, but at .* it is a string"),
        ([["a"], "b"], "a label is a string or a whole number"),
        ([None], "holds no labelled record; dropped: missing label: 60"),
        (["a", "\ud800"], "all 30 records have the label 'a'"),
        ([f"c{number}" for number in range(60)], "60 different values in 60 records"),
    ],
)
def test_bad_labels_stop_before_anything_is_written(labels, message, seeds, tmp_path):
    file = labelled(tmp_path / "bad.jsonl", labels)
    with pytest.raises(UserError, match=message):
        finetune(finetune_config(tmp_path, f"data.train={file}", f"train.num_seeds={seeds}"))
    assert not run_folders(tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.test={topics}", "no text is left to train on"),
        ("data.test={same}; data.validation={same}", "data.validation=.*: all its texts are in the test file too"),
        ("data.test={new}", "data.test=.*new.jsonl: 5 of 10 texts have the label 'new', which no training"),
        ("data.validation_share=0.001", "too few texts to split off a validation part: give data.validation"),
        ("evaluation.suite=quick", r"evaluation\.suite does nothing with `textssl finetune`"),
        ("data.pairs=somewhere", r"data\.pairs does nothing with `textssl finetune`"),
        ("data.corpus=somewhere", r"somewhere is not a prepared corpus"),  # in which labelled texts are looked for
        ("model.pooling=max", r"model\.pooling does nothing with objective\.name=classification"),
        ("out={topics}", "is a file, it must be a folder to make"),
        ("out={topics}; train.num_seeds=2", "is a file, it must be a folder to make"),
        ("out={topics}/run", "cannot be written: .* is a file"),
        ("out={folder}; train.num_seeds=2", "holds other files and no run"),
    ],
)
def test_what_cannot_be_or_does_nothing_is_refused(override, message, tmp_path):
    new = labelled(tmp_path / "new.jsonl", ["sea", "new"], 10)
    same = labelled(tmp_path / "same.jsonl", ["sea", "music"], 10)
    finetune_config(tmp_path)  # makes the files
    names = {"{topics}": "topics.jsonl", "{new}": new.name, "{same}": same.name, "{folder}": "."}
    for name, file in names.items():
        override = override.replace(name, str(tmp_path / file))
    with pytest.raises(UserError, match=message):
        finetune(finetune_config(tmp_path, *override.split("; ")))
    assert not run_folders(tmp_path) and not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(("labels", "weights"), [([0, 1], "{0: 1, 1: 3}"), ([True, False], "{true: 1, false: 3}")])
def test_weights_name_labels_that_yaml_reads_as_something_else(labels, weights, tmp_path):
    file = labelled(tmp_path / "numbers.jsonl", labels)
    objective = f"objective={{name: classification, class_weights: {weights}}}"
    result = finetune(finetune_config(tmp_path, f"data.train={file}", objective, "train.max_steps=1"))
    assert result.labels == sorted(str(label).lower() for label in labels) and result.test
    with pytest.raises(UserError, match="write balanced, or a weight for each label"):
        finetune(finetune_config(tmp_path, "objective={name: classification, class_weights: even}", out="run-2"))


def test_the_scale_of_class_weights_changes_nothing(tmp_path):
    losses = []
    for place, scale in enumerate((1.0, 0.001)):
        weights = f"{{sea: {3 * scale}, music: {scale}, kitchen: {scale}}}"
        objective = f"objective={{name: classification, class_weights: {weights}}}"
        result = finetune(finetune_config(tmp_path, objective, "train.log_every=12", out=f"run-{place}"))
        losses.append(result.summary["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_baseline_that_cannot_be_made_is_left_out_and_said(tmp_path):
    records = [{"text": "!" * (at + 1), "label": "ab"[at % 2]} for at in range(60)]
    file, said = write(tmp_path / "signs.jsonl", records), io.StringIO()
    baselines = "evaluation.baselines=[majority,tfidf,finetune]"
    result = finetune(
        finetune_config(tmp_path, f"data.train={file}", baselines, "train.max_steps=1"), console=Console(file=said)
    )
    assert set(result.baselines) == {"majority", "tfidf"} and result.test
    assert result.terms == {"tfidf": "characters 3-5"}, "these texts hold no word"
    assert "finetune is left out: the run itself is plain fine-tuning" in said.getvalue()
    static = ("model={config: {model_type: static, hidden_size: 16}}", f"tokenizer={tmp_path / 'bert'}")
    few = ("data.shots=4", "objective={name: pairs}", "evaluation.baselines=[finetune,probe]", "train.max_steps=2")
    result = finetune(finetune_config(tmp_path, *static, *few, out="run-2"), console=Console(file=said))
    assert result.test and not result.baselines
    assert "finetune is left out: a static encoder has no layers to fine-tune" in said.getvalue()


def test_a_signal_while_a_baseline_trains_stops_the_run(tmp_path, monkeypatch):
    config = ("evaluation.baselines=[scratch]", "train.max_steps=8")
    real = beside.tune

    def stopped(*arguments):
        tuned = real(*arguments)
        tuned.summary.stopped_by, tuned.answers = "SIGTERM", None
        return tuned

    with monkeypatch.context() as patched:
        patched.setattr(beside, "tune", stopped)
        result = finetune(finetune_config(tmp_path, *config))
    run = Path(result.run)
    assert result.stopped_by == json.loads((run / "summary.json").read_text())["stopped_by"] == "SIGTERM"
    assert not (run / "predictions.jsonl").exists()
    again = finetune(finetune_config(tmp_path, *config))
    assert again.stopped_by is None and set(again.baselines) == {"scratch"}


@pytest.mark.slow
def test_seeds_go_on_begin_anew_and_do_not_mix_with_one_seed(tmp_path):
    few = ("train.num_seeds=2", "train.max_steps=4", "data.shots=9", "evaluation.baselines=[tfidf]")
    first = finetune(finetune_config(tmp_path, *few))
    run = tmp_path / "run"
    assert len(first.baselines["tfidf"]["accuracy"]["scores"]) == 2, "each seed draws other texts"
    assert first.terms["tfidf"] in ("words", "characters 3-5", "characters 3-5 or words")
    shutil.rmtree(run / "seed-1")
    assert finetune(finetune_config(tmp_path, *few)).test == first.test
    with pytest.raises(UserError, match=r"train\.resume is never"):
        finetune(finetune_config(tmp_path, *few, "train.resume=never"))
    with pytest.raises(UserError, match=r"holds runs of several seeds"):
        finetune(finetune_config(tmp_path))
    before = (run / "config.yaml").read_text()
    with pytest.raises(UserError, match=r"these keys differ: optimizer\.lr"):
        finetune(finetune_config(tmp_path, *few, "optimizer.lr=0.1"))
    assert (run / "config.yaml").read_text() == before
    anew = finetune(finetune_config(tmp_path, *few, "train.resume=restart"))
    assert Path(anew.run) == run / "restart-1" and anew.test == first.test
    assert sorted(path.name for path in (run / "restart-1").glob("seed-*")) == ["seed-0", "seed-1"]
    assert json.loads((run / "summary.json").read_text())["run"] == str(run)


def test_a_run_that_ended_early_and_is_started_again_was_not_resumed(tmp_path):
    early = ("train.max_steps=200", "evaluation.every=2", "evaluation.patience=2", "evaluation.best=eval/loss")
    assert finetune(finetune_config(tmp_path, *early)).summary["stopped_early"]
    assert finetune(finetune_config(tmp_path, *early)).summary["resumed_from"] == []


def test_an_ended_run_does_not_change_what_it_chose_by(tmp_path):
    finetune(finetune_config(tmp_path, "evaluation.best=eval/loss"))
    before = (tmp_path / "run" / "summary.json").read_text()
    with pytest.raises(UserError, match=r"chose by eval/loss; evaluation\.best=eval/accuracy comes too late"):
        finetune(finetune_config(tmp_path, "evaluation.best=eval/accuracy"))
    assert (tmp_path / "run" / "summary.json").read_text() == before


@pytest.mark.slow
def test_few_labels_stay_few_beside_a_file_of_validation_texts(tmp_path):
    config = finetune_config(tmp_path, "evaluation.baselines=[tfidf,probe]")
    more = write_topics(tmp_path / "more.jsonl", 60, seed=1)
    shots = ("data.shots=2", "train.max_steps=2", "evaluation.baselines=[tfidf,probe]")
    pairs = ("objective={name: pairs}", "evaluation.every=null")
    alone = finetune(finetune_config(tmp_path, *shots, *pairs, out="alone"))
    beside = finetune(finetune_config(tmp_path, *shots, *pairs, f"data.validation={more}", out="beside"))
    assert beside.splits["validation"] == 60 and alone.splits["train"] == beside.splits["train"] == 6
    assert beside.baselines == alone.baselines and beside.test == alone.test
    config.data.validation = str(more)
    assert len(read_splits(config.data, 0).learnable) == 180, "without shots they are learned from"


def test_a_class_that_no_test_text_has_is_named(tmp_path):
    rare = labelled(tmp_path / "rare.jsonl", ["sea", "kitchen"])
    with rare.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"text": "a violin", "label": "music"}) + "\n")
    told = Console(file=io.StringIO(), width=200)
    few = (f"data.train={rare}", "train.max_steps=1", "evaluation.baselines=[]")
    result = finetune(finetune_config(tmp_path, *few), console=told)
    assert isinstance(told.file, io.StringIO) and "No test text has the label music: " in told.file.getvalue()
    assert "- No test text has the label music: " in (Path(result.run) / "model" / "README.md").read_text()


def test_the_card_names_the_files_of_parts_and_every_seed_has_the_baselines(tmp_path):
    parts = {
        name: write_topics(tmp_path / f"{name}.jsonl", 40, seed=seed) for name, seed in (("held", 8), ("asked", 9))
    }
    files = (f"data.validation={parts['held']}", f"data.test={parts['asked']}")
    few = ("train.num_seeds=2", "train.max_steps=1", "evaluation.baselines=[tfidf]")
    result = finetune(finetune_config(tmp_path, *files, *few))
    for seed in result.seeds:
        card = (Path(seed["run"]) / "model" / "README.md").read_text()
        assert "to train, 40 to validation (from held.jsonl), 40 to test (from asked.jsonl)." in card
        assert "test examples come from asked.jsonl;" in card and "| TF-IDF, " in card
        assert load_config(Path(seed["run"]) / "config.yaml").evaluation.baselines == ["tfidf"]
    assert result.baselines["tfidf"]["accuracy"]["interval"] == "test examples", "it is the same for every seed"


def test_without_validation_texts_the_last_step_is_exported_and_nothing_is_said_of_them(tmp_path, capsys):
    whole = ("data.validation_share=0", "evaluation.baselines=[tfidf]", "train.max_steps=2")
    result = finetune(finetune_config(tmp_path, *whole))
    assert set(result.splits) == {"train", "test"} and result.summary["best"] is None
    assert "validation" not in capsys.readouterr().out and result.test["accuracy"]["mean"] > 0


def test_contrast_reads_as_many_tokens_when_it_answers_as_when_it_learned(tmp_path):
    pairs = ("data.shots=4", "objective={name: pairs}", "evaluation.every=null", "train.max_steps=1")
    result = finetune(finetune_config(tmp_path, *pairs, "data.sequence_length=8"))
    assert SentenceTransformer(f"{result.run}/model", device="cpu").max_seq_length == 8
    encoder = load_encoder(f"{result.run}/model", max_tokens=None)
    words = topics(1)[0][0].split()
    cut, other = encoder.embed([" ".join(words * 9), " ".join(words * 9 + ["other", "end"])])
    assert np.array_equal(cut, other)


def test_labels_in_any_script_and_with_brackets_reach_the_table(tmp_path):
    file = labelled(tmp_path / "labels.jsonl", ["[/b] é", "日本", "[red]"])
    result = finetune(finetune_config(tmp_path, f"data.train={file}", "train.max_steps=1"))
    console = Console(file=io.StringIO(), width=120)
    for table in result_tables(result.as_dict()):
        console.print(table)
    assert all(label in console.file.getvalue() for label in ("[/b] é", "日本", "[red]"))  # type: ignore[attr-defined]


def test_the_exported_tokenizer_pads_as_training_did(tmp_path):
    config = finetune_config(tmp_path, "train.max_steps=1", family="gpt2")
    file = tmp_path / "gpt2" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left"}))
    assert AutoTokenizer.from_pretrained(tmp_path / "gpt2").padding_side == "left"
    result = finetune(config)
    assert AutoTokenizer.from_pretrained(f"{result.run}/model").padding_side == "right"
    made = predict(result.run, tmp_path / "topics.jsonl", tmp_path / "labels.jsonl")
    answers = {line["text"]: line for line in map(json.loads, made.out.read_text().splitlines())}
    for line in map(json.loads, (Path(result.run) / "predictions.jsonl").read_text().splitlines()):
        assert answers[line["text"]]["probabilities"] == pytest.approx(line["probabilities"], abs=2e-5)
    with pytest.raises(UserError, match="is an input itself"):
        predict(result.run, made.out, made.out)


def test_intervals_over_seeds_stay_where_figures_can_be():
    merged = over_seeds([
        {name: {"mean": value} for name in ("mcc", "mse", "loss")} for value in (0.0, 0.9)
    ])  # fmt: skip
    assert merged["mcc"]["low"] == -1.0 and merged["mcc"]["high"] == 1.0
    assert merged["mse"]["low"] == merged["loss"]["low"] == 0.0


def test_pretraining_takes_no_seeds_and_misspelt_names_are_guessed(tmp_path):
    with pytest.raises(UserError, match=r"train\.num_seeds is for `textssl finetune`"):
        pretrain(finetune_config(tmp_path, "objective={name: mlm}", "train.num_seeds=2"))
    with pytest.raises(UserError, match="did you mean regression"):
        finetune(finetune_config(tmp_path, "objective={name: regresion}"))
