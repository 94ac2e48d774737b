"""Names of configurations: what is looked up, where, and what is said of a name that is unknown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import textssl
from textssl import named_configs
from textssl.config import load_config
from textssl.errors import UserError
from textssl.named_configs import config_folder, config_names, find_config, named_config, repository

ROOT = Path(__file__).resolve().parents[1]
PLAIN = "train: {max_steps: 3}\n"


def test_a_checkout_has_its_own_folder():
    assert repository() == ROOT and config_folder() == ROOT / "configs"
    assert config_names() == sorted(file.stem for file in (ROOT / "configs").iterdir())
    assert named_config("crops").read_bytes() == (ROOT / "configs" / "crops.yaml").read_bytes()


@pytest.mark.parametrize("beside", ["configs", "pyproject.toml"])  # of another project, in the same site-packages
def test_an_installed_wheel_has_them_inside(beside, tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "textssl"
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "mine.yaml").write_text(PLAIN)
    other = package.parent / beside
    other.write_text("") if "." in beside else other.mkdir()
    monkeypatch.setattr(named_configs, "PACKAGE", package)
    assert repository() is None and config_names() == ["mine"]
    assert load_config("mine").train.max_steps == 3


def test_a_name_is_looked_up_where_no_such_file_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("crops") == find_config(Path("crops")) == ROOT / "configs" / "crops.yaml"
    assert load_config("crops", ["train.max_steps=2"]).objective["name"] == "crops"
    (tmp_path / "crops").mkdir()
    assert find_config("crops") == ROOT / "configs" / "crops.yaml"
    (tmp_path / "crops").rmdir()
    (tmp_path / "crops").write_text(PLAIN)
    assert find_config("crops") == Path("crops") and load_config("crops").train.max_steps == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("crop", "the configuration 'crop' does not exist, .* did you mean crops? There are: barlow, byol, "),
        ("zzz", "the configuration 'zzz' does not exist, .*textssl; there are: barlow, "),
        ("crops.yaml", "the configuration crops.yaml does not exist; .* is named crops, without folder and suffix"),
        ("configs/crops.yaml", "the configuration configs/crops.yaml does not exist; .* is named crops, without"),
        ("mine.yaml", "the configuration mine.yaml does not exist; `textssl configs list` shows"),
        ("./crops", "the configuration ./crops does not exist; `textssl configs list` shows"),
        ("runs", "the configuration runs is a folder; give a file, such as runs/config.yaml"),
    ],
)
def test_what_is_not_there(given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match=re.escape(message).replace(r"\.\*", ".*")):
        textssl.pretrain(given)


def test_a_long_name_is_not_repeated_whole():
    with pytest.raises(UserError, match="does not exist") as caught:
        find_config("x" * 400)
    assert len(str(caught.value)) < 500
