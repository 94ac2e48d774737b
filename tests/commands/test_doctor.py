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
from textssl.system import threads

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
    assert found["attention"][0] == ("dense" if precision == "bfloat16" else "sdpa")


def test_cores_and_threads_are_those_that_a_run_would_use(monkeypatch, capsys):
    """Less than the affinity allows where the container has a limit; what others use is said."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr(threads, "allowed_cores", lambda: list(range(64)))
    monkeypatch.setattr(threads, "cpu_limit", lambda: 6.5)
    monkeypatch.setattr(threads, "loads", lambda: ([1.0] * 60 + [0.0] * 4, 0.0))
    threads.threads_of_cores.cache_clear()
    try:
        found = textssl.doctor()
        assert found["cores"] == 6 and found["devices"][0]["threads"] == 6
        assert found["devices"][0]["name"].endswith("6 compute threads (of 6 cores, others use 60.0: 4 may be faster)")
        assert "6 cores, " in capsys.readouterr().out
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert doctor.cpu_device()["name"].endswith("3 compute threads (OMP_NUM_THREADS)")
    finally:
        threads.threads_of_cores.cache_clear()


def test_the_memory_of_a_container_is_its_limit(tmp_path):
    whole = doctor.memory_bytes(tmp_path)
    assert whole is not None
    (tmp_path / "memory").mkdir()
    for limit, found in (("4096", 4096), (str(2**63 - 4096), whole)):
        (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{limit}\n")
        assert doctor.memory_bytes(tmp_path) == found
    for limit, found in (("8192", 8192), ("max", whole)):
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        assert doctor.memory_bytes(tmp_path) == found


def test_cache_folder_need_not_exist(tmp_path):
    described = doctor.describe_cache(tmp_path / "a" / "b")
    assert described["used_bytes"] == 0 and described["free_bytes"] > 0 and described["writable"]
