"""Budgets, entries, and the folder that a comparison keeps."""

from __future__ import annotations

import json

import pytest

from tests.tiny import make_corpus
from textssl.assembly.comparison.entries import Budget, Settings, make_entries, read_inputs, slug
from textssl.config import load_config
from textssl.errors import UserError

GIVEN = ("tokenizer=words", "data.corpus=corpus")


@pytest.mark.parametrize(
    ("text", "override"),
    [
        ("120s", "train.max_seconds=120"),
        ("1.5m", "train.max_seconds=90"),
        ("2h", "train.max_seconds=7200"),
        ("1e6tokens", "train.max_tokens=1000000"),
        ("16777217tokens", "train.max_tokens=16777217"),
        ("50000 tokens", "train.max_tokens=50000"),
    ],
)
def test_budgets(text, override):
    assert Budget.parse(text).override == override


@pytest.mark.parametrize("text", ["", "120", "-3s", "0s", "tokens", "1e6", "1 year"])
def test_a_budget_that_is_none_says_how_to_write_one(text):
    with pytest.raises(UserError, match=r"--budget is .*120s or 1e6tokens"):
        Budget.parse(text)


def entries(configs, out, *, seeds=1, models=("nano",), overrides=GIVEN):
    return make_entries(configs, out, Budget.parse("1e6tokens"), seeds, list(models), overrides)


def test_all_first_seeds_before_all_second_ones(tmp_path):
    found, left_out = entries(["mlm", "crops", "classification"], tmp_path, seeds=2)
    assert [(entry.name, entry.seed) for entry in found] == [("mlm", 0), ("crops", 0), ("mlm", 1), ("crops", 1)]
    assert {entry.config.model.preset for entry in found} == {"modernbert-nano"}
    assert all(entry.config.train.max_tokens == 1e6 and entry.config.train.max_steps is None for entry in found)
    assert len({entry.folder for entry in found}) == 4 and len({entry.backbone for entry in found}) == 1
    assert left_out == ["classification learns labels: the supervised model stands beside the table anyway"]


def test_several_models_give_a_row_each(tmp_path):
    found, left_out = entries(["mlm", "crops"], tmp_path, models=["nano", "static-nano"])
    assert [entry.name for entry in found] == ["mlm, modernbert-nano", "crops, modernbert-nano", "crops, static-nano"]
    assert left_out == ["mlm, static-nano: a static table has no layers for it"]
    assert found[0].folder.name == "mlm-modernbert-nano-0"


def test_what_cannot_be_compared_is_said(tmp_path):
    with pytest.raises(UserError, match="there is nothing to compare"):
        entries([], tmp_path)
    with pytest.raises(UserError, match="there is nothing to compare: classification learns labels"):
        entries(["classification"], tmp_path)
    with pytest.raises(UserError, match="one tokenizer and one corpus"):
        entries(["mlm"], tmp_path, overrides=())
    with pytest.raises(UserError, match="mlm is named twice"):
        entries(["mlm", "mlm"], tmp_path)


def test_files_of_one_name_do_not_share_a_folder(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.yaml").write_text("objective: {name: mlm}\n")
    found, _ = entries([str(tmp_path / "a/mine.yaml"), str(tmp_path / "b/mine.yaml")], tmp_path)
    assert [entry.name for entry in found] == ["mine", "mine-2"] and found[0].folder != found[1].folder


def test_all_read_the_same_text(tmp_path):
    for name, corpus in (("a", "one"), ("b", "other")):
        text = f"tokenizer: words\ndata: {{corpus: {corpus}}}\nobjective: {{name: mlm}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")]
    with pytest.raises(UserError, match=r"a and b have different values of data.corpus: give one"):
        entries(files, tmp_path, overrides=())
    assert len(entries(files, tmp_path, overrides=["data.corpus=one"])[0]) == 2


def test_a_record_of_another_configuration_is_refused(tmp_path):
    (entry,), _ = entries(["mlm"], tmp_path)
    assert entry.read() is None
    entry.folder.mkdir(parents=True)
    entry.record.write_text(json.dumps({"asked": entry.asked, "seed": 0}))
    assert entry.read() == {"asked": entry.asked, "seed": 0}
    (other,), _ = entries(["mlm"], tmp_path, overrides=[*GIVEN, "objective.mask_rate=0.5"])
    with pytest.raises(UserError, match="a run of mlm with another objective"):
        other.read()
    entry.record.write_text("{half")
    assert entry.read() is None


def test_settings_stay(tmp_path):
    settings = Settings("120s", "quick", ["nano"], list(GIVEN))
    settings.agree(tmp_path / "out")
    settings.agree(tmp_path / "out")
    with pytest.raises(UserError, match=r"another budget .budget: 120s."):
        Settings("60s", "quick", ["nano"], list(GIVEN)).agree(tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(UserError, match=r"holds other files .thesis.txt."):
        settings.agree(tmp_path / "full")
    (tmp_path / "out" / "comparison.json").write_text("")
    with pytest.raises(UserError, match="is damaged"):
        settings.agree(tmp_path / "out")


def test_rows_of_another_text_do_not_join(tmp_path):
    make_corpus(tmp_path)
    suite = tmp_path / "own.yaml"
    suite.write_text("[{name: topics, path: topics.csv}]")

    def contents() -> dict[str, str]:
        given = f"tokenizer={tmp_path / 'tokenizer'}", f"data.corpus={tmp_path / 'corpus'}"
        return read_inputs(load_config("mlm", given), str(suite))

    def settings(found: dict[str, str]) -> Settings:
        return Settings("9s", str(suite), ["nano"], [], found)

    first = contents()
    settings(first).agree(tmp_path / "out")
    suite.write_text("[{name: topics, path: others.csv}]")
    with pytest.raises(UserError, match="whose suite had another content"):
        settings(contents()).agree(tmp_path / "out")
    with pytest.raises(UserError, match="whose corpus had another content"):
        settings({**first, "corpus": "0"}).agree(tmp_path / "out")
    settings({}).agree(tmp_path / "older")  # of a version that noted none
    settings(first).agree(tmp_path / "older")


def test_names_of_rows_are_names_of_folders():
    assert slug("crops, from runs/a b") == "crops-from-runs-a-b"
