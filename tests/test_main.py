"""The program `textssl`: modules of the current folder are found, after those that are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.tiny import make_corpus, tiny_config
from textssl.__main__ import search_current_folder

ROOT = Path(__file__).resolve().parents[1]
CONSOLE_SCRIPT = ["-P", "-c", "from textssl.__main__ import main; main()"]  # -P: the current folder is not on sys.path
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
BYOL = """
from textssl.objectives.mlm import MaskedLM

class BYOL(MaskedLM):
    "One more name for masked language modelling."
"""


def run(start: list[str], arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *start, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.campaign)])
def test_an_objective_of_the_current_folder_trains(processes, tmp_path):
    """Under torchrun, from which the processes inherit nothing; tests/objectives/test_own.py has one without."""
    make_corpus(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "byol.py").write_text(BYOL)
    (tmp_path / "tiny.yaml").write_text(tiny_config(tmp_path, "mlm", "train.max_steps=2").to_yaml())
    overrides = ["objective={name: 'mine.byol:BYOL'}", "train.workers=2", "train.device=cpu", "out=run"]
    finished = run([*TORCHRUN, processes, "-m", "textssl"], ["pretrain", "tiny.yaml", *overrides], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["objective"]["name"] == "mine.byol:BYOL"
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


def test_a_file_of_the_current_folder_shadows_no_installed_package(tmp_path):
    for name in ("typer", "yaml", "json", "textssl", "rich", "pydantic"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the file of the current folder was imported')")
    finished = run(CONSOLE_SCRIPT, ["configs", "show", "crops"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == (ROOT / "configs" / "crops.yaml").read_text()


def test_the_current_folder_comes_last_and_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["/a"])
    search_current_folder()
    search_current_folder()
    assert sys.path == ["/a", str(tmp_path)]
    monkeypatch.setattr(sys, "path", ["", "/a"])
    search_current_folder()
    assert sys.path == ["", "/a"]


def test_a_current_folder_that_was_removed_is_left_out(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setattr(sys, "path", ["/a"])
    gone.rmdir()
    search_current_folder()
    assert sys.path == ["/a"]
