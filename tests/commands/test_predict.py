"""predict: every text answered in its place, what is broken counted, and nothing half written."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import torch

from tests.evaluation.folders import topics
from tests.inference.test_predictor import save_classifier, save_headed
from tests.labelled import write
from textssl.commands import predict as workflow
from textssl.commands.predict import predict
from textssl.errors import UserError
from textssl.sample_types import LabelFacts

TEXTS = topics(30)[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("model"), "bert", LabelFacts(("a", "b", "c"), (1, 1, 1)))


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def texts_file(folder: Path, texts: list[str] = TEXTS) -> Path:
    return write(folder / "new.jsonl", [{"text": text} for text in texts])


def test_answers_stand_in_the_order_of_the_input_whatever_the_windows(model, tmp_path, monkeypatch, capfd):
    source = texts_file(tmp_path)
    made = predict(model, source, tmp_path / "out" / "labels.jsonl")
    found = lines(made.out)
    assert [line["text"] for line in found] == TEXTS
    assert [line["source"] for line in found] == [f"{source}:{number}" for number in range(1, 31)]
    for line in found:
        assert list(line["probabilities"]) == ["a", "b", "c"]
        assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1.6e-6)  # three numbers of six digits
        assert line["label"] == max(line["probabilities"], key=line["probabilities"].get)
    assert made.texts == 30 and made.dropped == 0
    assert made.counts == {name: sum(line["label"] == name for line in found) for name in "abc"}
    assert (
        f"30 texts: {', '.join(f'{k} {v}' for k, v in made.counts.items() if v)}; in {made.out}"
        in capfd.readouterr().out
    )
    monkeypatch.setattr(workflow, "WINDOW_TEXTS", 4)
    again = lines(predict(model, source, tmp_path / "again.jsonl").out)
    assert [line["label"] for line in again] == [line["label"] for line in found]
    for one, other in zip(again, found, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=2e-6)
    assert sorted(path.name for path in made.out.parent.iterdir()) == ["labels.jsonl"]


def test_every_format_and_a_folder_of_them(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("more,text\n1,one\n2,two\n")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "three"}\n'))
    pyarrow.parquet.write_table(pyarrow.table({"text": ["four"], "label": ["x"]}), folder / "c.parquet")
    (folder / "d.txt").write_text("five\nlines\n\nsix\n")
    made = predict(model, folder, tmp_path / "out.jsonl")
    assert [line["text"] for line in lines(made.out)] == ["one", "two", "three", "four", "five\nlines", "six"]
    assert lines(made.out)[-1]["source"] == f"{folder / 'd.txt'}:4"
    made = predict(model, [folder / "d.txt", folder / "a.csv"], made.out, one_document_per="line")
    assert [line["text"] for line in lines(made.out)] == ["five", "lines", "six", "one", "two"], "an old file gives way"
    (folder / "e.csv").write_text("body\nseven\n")
    assert lines(predict(model, folder / "e.csv", made.out, text_column="body").out)[0]["text"] == "seven"


def test_pairs_are_read_where_there_is_no_text(model, tmp_path):
    records = [{"text_a": text, "text_b": text[::-1]} for text in TEXTS[:5]]
    found = lines(predict(model, write(tmp_path / "p.jsonl", records), tmp_path / "out.jsonl").out)
    assert [(line["text_a"], line["text_b"]) for line in found] == [(text, text[::-1]) for text in TEXTS[:5]]
    assert all("text" not in line for line in found)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "p.parquet")
    same = lines(predict(model, tmp_path / "p.parquet", tmp_path / "out.jsonl").out)
    assert [line["probabilities"] for line in same] == [line["probabilities"] for line in found]


def test_broken_records_are_counted_and_shown(model, tmp_path, capfd):
    source = texts_file(tmp_path, ["one", "", "two"])
    with source.open("ab") as file:
        file.write(b'{"body": "no text"}\n{"text": 3}\n{"text": "\xff"}\n{"text": "cut\n{"text": "three"}\n')
    made = predict(model, source, tmp_path / "out.jsonl")
    assert [line["text"] for line in lines(made.out)] == ["one", "two", "three"]
    assert made.texts == 3 and made.dropped == 5
    shown = capfd.readouterr().out
    for reason in ("empty text", "missing column", "text not a string", "invalid UTF-8", "invalid JSON"):
        assert reason in shown, reason
    with pytest.raises(UserError, match=r"new\.jsonl:2: empty text.*without --strict it is dropped"):
        predict(model, source, tmp_path / "strict.jsonl", strict=True)
    assert not (tmp_path / "strict.jsonl").exists()


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"text": "one"}, {"text_a": "one", "text_b": "two"}], r"new\.jsonl:2: texts and pairs of texts in one input"),
        ([{"text": ""}], r"there is no text to classify in .*new\.jsonl \(empty text: 1, first .*new\.jsonl:1"),
        ([{"body": "one"}], r"no text to classify .*missing column: 1"),
        ([{"text_a": "one"}], r"no text to classify .*missing column: 1"),
    ],
)
def test_input_that_cannot_be_answered_leaves_nothing(records, message, model, tmp_path):
    source, before = write(tmp_path / "new.jsonl", records), {"new.jsonl"}
    with pytest.raises(UserError, match=message):
        predict(model, source, tmp_path / "out.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == before


def test_the_output_is_no_input_of_the_next_time(model, tmp_path):
    texts_file(tmp_path)
    out = predict(model, tmp_path, tmp_path / "out.jsonl").out
    before = out.read_bytes()
    for source in (tmp_path, tmp_path / "*.jsonl"):
        with pytest.raises(UserError, match=r"out\.jsonl is an input itself"):
            predict(model, source, out)
    assert out.read_bytes() == before


def test_a_failure_on_the_way_leaves_the_old_file(model, tmp_path, monkeypatch):
    monkeypatch.setattr(workflow, "WINDOW_TEXTS", 2)
    source, out = texts_file(tmp_path), tmp_path / "out.jsonl"
    out.write_text("old\n")
    with source.open("a") as file:
        file.write('{"text_a": "one", "text_b": "two"}\n')
    with pytest.raises(UserError, match="texts and pairs of texts"):
        predict(model, source, out)
    assert out.read_text() == "old\n" and {path.name for path in tmp_path.iterdir()} == {"new.jsonl", "out.jsonl"}


@pytest.mark.parametrize("name", ["out.csv", "out", "out.txt", "folder.jsonl"])
def test_a_wrong_name_is_told_before_anything_is_read(name, model, tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(UserError, match=r"--out is .*: it must name a \.jsonl file"):
        predict(model, tmp_path / "missing.jsonl", tmp_path / name)
    with pytest.raises(UserError, match="no file or folder"):
        predict(model, tmp_path / "missing.jsonl", tmp_path / "out.jsonl")


def test_scores_and_heads(tmp_path):
    source = texts_file(tmp_path)
    scored = save_classifier(tmp_path / "scored", "bert", LabelFacts(mean=2.5, deviation=1.0))
    made = predict(scored, source, tmp_path / "scores.jsonl")
    assert made.counts == {} and all(set(line) == {"source", "text", "score"} for line in lines(made.out))
    headed = save_headed(tmp_path / "headed", static=True)
    made = predict(headed, source, tmp_path / "labels.jsonl")
    assert sum(made.counts.values()) == 30 and list(made.counts) == ["no", "yes", "maybe"]
    pairs = write(tmp_path / "p.jsonl", [{"text_a": "one", "text_b": "two"}])
    with pytest.raises(UserError, match="classifies single texts"):
        predict(headed, pairs, tmp_path / "pairs.jsonl")
    assert not list(tmp_path.glob("*pairs.jsonl*"))


def test_texts_that_were_cut_are_counted(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(workflow, "WINDOW_TEXTS", 2)
    source = texts_file(tmp_path, ["one", " ".join(TEXTS), "two", " ".join(TEXTS), "three"])
    assert predict(model, source, tmp_path / "out.jsonl").truncated == 2
    assert re.search(r"2 of them \(40\.0%\) are longer than \d+ tokens and were cut there", capsys.readouterr().out)
    assert predict(model, texts_file(tmp_path, ["one"]), tmp_path / "out.jsonl").truncated == 0
    assert "were cut" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("texts", "message"), [(1, "classifies single texts, and the input holds pairs"), (2, "answers pairs of texts")]
)
def test_a_model_of_pairs_answers_no_single_texts_nor_the_other_way_round(texts, message, model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "textssl": {"texts": texts}}))
    single, pair = {"text": "one"}, {"text_a": "one", "text_b": "two"}
    right, wrong = (single, pair) if texts == 1 else (pair, single)
    assert predict(folder, write(tmp_path / "right.jsonl", [right]), tmp_path / "out.jsonl").texts == 1
    with pytest.raises(UserError, match=message):
        predict(folder, write(tmp_path / "wrong.jsonl", [wrong]), tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_weights_that_are_no_numbers_stop(tmp_path):
    folder = save_classifier(tmp_path, "bert", LabelFacts(("a", "b"), (1, 1)))
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"classifier.weight": weights["classifier.weight"] * torch.nan}, folder / "model.safetensors")
    with pytest.raises(UserError, match="not finite numbers: its weights are broken"):
        predict(folder, texts_file(tmp_path), tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("*out.jsonl*"))


def test_names_that_are_not_utf_8_are_written_escaped(model, tmp_path):
    source = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")
    os.rename(texts_file(tmp_path), source)
    found = lines(predict(model, source, tmp_path / "out.jsonl").out)
    assert found[0]["source"] == f"{tmp_path}/caf\\udce9.jsonl:1"


def test_pipes_and_devices_are_refused(model, tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "null.jsonl").symlink_to("/dev/null")
    source = texts_file(tmp_path)
    for name, what in (("pipe.jsonl", "a pipe"), ("null.jsonl", "a device")):
        with pytest.raises(UserError, match=f"is {what}; it must name a regular file"):
            predict(model, source, tmp_path / name)


def test_texts_are_cut_where_training_cut_them_without_tokenizer_config_too(tmp_path, capsys):
    """The length is in tokenizer.json too; where it is in neither file, a line says what is taken."""
    model = save_classifier(tmp_path / "model", "bert", LabelFacts(("a", "b", "c"), (1, 1, 1)))
    recorded = json.loads((model / "tokenizer_config.json").read_text())["model_max_length"]
    state = json.loads((model / "tokenizer.json").read_text())
    cut = {"direction": "Right", "max_length": recorded, "strategy": "LongestFirst", "stride": 0}
    (model / "tokenizer.json").write_text(json.dumps(state | {"truncation": cut}))  # as the reading of texts leaves it
    source = texts_file(tmp_path, [" ".join(TEXTS) for _ in range(3)])
    first = lines(predict(model, source, tmp_path / "first.jsonl").out)
    (model / "tokenizer_config.json").unlink()
    again = lines(predict(model, source, tmp_path / "again.jsonl").out)
    assert again == first and recorded < 64 and "does not say" not in capsys.readouterr().out
    (model / "tokenizer.json").write_text(json.dumps(state | {"truncation": None}))
    predict(model, source, tmp_path / "third.jsonl")
    said = capsys.readouterr().out
    assert "does not say at how many tokens its texts were cut in training" in said and "cut at 64" in said
