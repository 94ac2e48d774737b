"""`textssl configs`: every configuration is listed with its command, shown as it is, and copied without loss."""

from __future__ import annotations

from pathlib import Path

import pytest

import textssl
from textssl.config import load_config
from textssl.errors import UserError
from textssl.named_configs import named_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
TUNED = {"classification", "few-labels", "regression"}


def test_list_has_every_configuration_with_its_command(capsys):
    rows = textssl.list_configs()
    printed = capsys.readouterr().out
    assert [row["name"] for row in rows] == sorted(file.stem for file in CONFIGS.glob("*.yaml"))
    for row in rows:
        assert row["name"] in printed
        assert row["command"] == ("finetune" if row["name"] in TUNED else "pretrain")
        assert row["what"].endswith(".") and "#" not in row["what"] and "textssl" not in row["what"]


def test_show_prints_the_file_as_it_is(capsys):
    text = textssl.show_config("crops")
    assert capsys.readouterr().out == text == (CONFIGS / "crops.yaml").read_text()


def test_copy_takes_the_name_and_never_replaces_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert textssl.copy_config("crops") == Path("crops.yaml")
    assert capsys.readouterr().out == "crops.yaml: change it, then textssl pretrain crops.yaml ...\n"
    assert Path("crops.yaml").read_bytes() == (CONFIGS / "crops.yaml").read_bytes()
    assert load_config("crops.yaml") == load_config("crops")
    Path("crops.yaml").write_text("seed: 5\n")
    with pytest.raises(UserError, match=r"crops\.yaml exists: name another file with --out"):
        textssl.copy_config("crops")
    assert Path("crops.yaml").read_text() == "seed: 5\n"
    assert textssl.copy_config("few-labels", "new/mine.yaml") == Path("new/mine.yaml")
    assert "textssl finetune new/mine.yaml" in capsys.readouterr().out


def test_an_unknown_name_gets_the_nearest(tmp_path):
    for call in (lambda: textssl.show_config("simcs"), lambda: textssl.copy_config("simcs", tmp_path / "a.yaml")):
        with pytest.raises(UserError, match="no configuration named 'simcs'; did you mean simcse"):
            call()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"no configuration named '\.\./configs/crops'"):
        named_config("../configs/crops")
