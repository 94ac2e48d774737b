from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

import textssl
from textssl.commands import doctor

PYPROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


def test_packages_are_those_of_the_project():
    assert set(doctor.REQUIRED) == names(PYPROJECT["dependencies"])
    assert {extra: set(found[0]) for extra, found in doctor.EXTRAS.items()} == {
        extra: names(found) - {"textssl"}  # an extra may name others: textssl[eval]
        for extra, found in PYPROJECT["optional-dependencies"].items()
    }


def test_json_is_what_is_returned(capsys):
    returned = textssl.doctor(json=True)
    assert json.loads(capsys.readouterr().out) == returned
    assert returned["packages"]["torch"] == version("torch")
    assert returned["cores"] >= 1
    assert returned["devices"][0]["device"] == "cpu"


def test_tables_name_what_is_missing_and_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "track", (("no-such-package", "tensorboard"), "live curves"))
    found = textssl.doctor()
    printed = capsys.readouterr().out
    assert found["extras"]["track"]["missing"] == ["no-such-package"]
    assert "pip install -c constraints.txt -e '.[track]'\n" in printed
    assert "cpu" in printed and found["devices"][0]["precision"] in printed


def test_an_installed_wheel_names_no_file_of_the_repository(capsys, monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "track", (("no-such-package",), "live curves"))
    monkeypatch.setattr(doctor, "repository", lambda: None)
    assert textssl.doctor()["extras"]["track"]["install"] == "pip install 'textssl[track]'"
    printed = capsys.readouterr().out
    assert "pip install 'textssl[track]'\n" in printed
    assert "constraints.txt" not in printed and "repository" not in printed


@pytest.mark.parametrize(
    ("abilities", "native", "precision"),
    [
        ({"avx2": True}, False, "float32"),
        ({"amx_bf16": True}, True, "bfloat16"),
        ({"avx512_bf16": True}, True, "bfloat16"),
        ({"sve_bf16": True}, True, "float32"),
    ],
)
def test_bfloat16_is_offered_only_where_the_processor_has_it(monkeypatch, abilities, native, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
    found = doctor.cpu_device()
    assert found["native_bfloat16"] == native
    assert ("train.precision=bfloat16" in found["why"]) == (native and precision == "float32")
    assert found["precision"] == precision  # what train.precision=auto takes
    assert found["attention"][0] == ("eager" if precision == "bfloat16" else "sdpa")


def test_cache_folder_need_not_exist(tmp_path):
    described = doctor.describe_cache(tmp_path / "a" / "b")
    assert described["used_bytes"] == 0 and described["free_bytes"] > 0 and described["writable"]
