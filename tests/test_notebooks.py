"""The notebooks are what their sources make, and the sources run."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts import notebooks
from scripts.notebooks import Cell, parse
from tests.few_samples import few_samples
from tests.forked import Forked

SOURCES = sorted(notebooks.SOURCES.glob("*.py"))
RUN = """
import sys
from pathlib import Path
text = Path(sys.argv[1]).read_text(encoding="utf-8").replace("draws: 10", "draws: 2")
exec(compile(text, sys.argv[1], "exec"), {"__name__": "__main__"})
"""
SOURCE = "# %% [markdown]\n# # Title\n#\n# words\n\n# %%\nx = 1\n\n\ndef f():\n    return x\n\n\n# %%\nprint(f())\n"


def name(path: Path) -> str:
    return path.stem


def test_there_is_one_for_each_use():
    assert {source.stem for source in SOURCES} == {"language_model", "sentence_encoder", "few_labels"}
    assert {file.stem for file in notebooks.NOTEBOOKS.glob("*.ipynb")} == {source.stem for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_stored_notebook_is_up_to_date_and_fit_to_be_published(source: Path):
    assert notebooks.outdated(source) is None
    file = notebooks.NOTEBOOKS / f"{source.stem}.ipynb"
    stored = nbformat.read(file, as_version=4)
    nbformat.validate(stored)
    outputs = [output for cell in stored.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())]
    assert len(pictures) >= 2 and all(base64.b64decode(picture)[:4] == b"\x89PNG" for picture in pictures)
    words = re.sub(r'"image/png": "[^"]*"', "", file.read_text(encoding="utf-8"))
    for place in (str(Path.home()) + "/", "/tmp/", str(notebooks.ROOT), "/home/", "/root/"):
        assert place not in words


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=name)
def test_source_runs_on_a_small_budget(source: Path, tmp_path: Path, tmp_path_factory):
    small = {"TEXTSSL_NOTEBOOK_BUDGET": "small", "TEXTSSL_CACHE": str(few_samples(tmp_path_factory))}
    environment = {**os.environ, **small, "MPLBACKEND": "Agg"}
    ran = Forked(["-c", RUN, str(source)], env=environment, cwd=tmp_path)
    _, errors = ran.communicate()
    assert ran.returncode == 0, errors[-3000:]
    cards = [*tmp_path.rglob("model/README.md")]
    assert cards and list(tmp_path.iterdir()) == [tmp_path / "runs"]


def test_parse_gives_text_without_its_signs_and_code_as_it_is():
    assert parse(SOURCE) == [
        Cell("markdown", "# Title\n\nwords"),
        Cell("code", "x = 1\n\n\ndef f():\n    return x"),
        Cell("code", "print(f())"),
    ]
    for wrong in ("x = 1\n# %%\n", "# %% [markdown]\nwords\n", ""):
        with pytest.raises(ValueError, match=r"source|markdown"):
            parse(wrong)


def test_check_says_what_is_missing_changed_and_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    source = tmp_path / "a.py"
    source.write_text(SOURCE)
    assert "missing" in str(notebooks.outdated(source))
    cells = [{"cell_type": cell.kind, "source": [cell.source], "execution_count": 1} for cell in parse(SOURCE)]
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    assert notebooks.outdated(source) is None
    source.write_text(SOURCE.replace("x = 1", "x = 2"))
    assert "other cells" in str(notebooks.outdated(source))
    source.write_text(SOURCE)
    cells[2]["execution_count"] = None
    file.write_text(json.dumps({"cells": cells}))
    assert "not run to its end" in str(notebooks.outdated(source))


def test_an_unknown_name_is_answered_with_those_that_exist():
    ran = subprocess.run(
        [sys.executable, str(notebooks.ROOT / "scripts" / "notebooks.py"), "--check", "no-such"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2 and "no-such" in ran.stderr and "language_model" in ran.stderr
