"""The shell scripts: they parse, stop at errors, and the dispatcher of campaigns knows its campaigns."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = [*sorted((ROOT / "scripts").rglob("*.sh")), ROOT / ".ci" / "run"]


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment}
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, env=variables, timeout=60)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script_parses_and_stops_at_errors(script: Path):
    assert run("bash", "-n", script).returncode == 0
    assert "\nset -euo pipefail\n" in script.read_text(encoding="utf-8")
    assert os.access(script, os.X_OK)


def test_verify_lists_every_campaign_with_what_it_proves():
    finished = run(ROOT / "scripts" / "verify.sh", "list")
    assert finished.returncode == 0
    listed = {line.split()[0]: line.split()[1:] for line in finished.stdout.splitlines()}
    files = [*(ROOT / "scripts" / "verify").glob("*.sh"), *(ROOT / "scripts" / "verify").glob("*.py")]
    assert set(listed) == {file.stem for file in files}
    assert all(listed.values())


def test_verify_refuses_an_unknown_campaign():
    finished = run(ROOT / "scripts" / "verify.sh", "no-such-campaign")
    assert finished.returncode == 2
    assert "no-such-campaign" in finished.stderr


def test_install_says_so_when_no_python_is_recent_enough(tmp_path):
    copied = tmp_path / "scripts" / "install.sh"
    copied.parent.mkdir()
    copied.write_bytes((ROOT / "scripts" / "install.sh").read_bytes())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("dirname", "cat", "cksum", "cut", "bash"):
        (tools / tool).symlink_to(
            next(Path(folder) / tool for folder in ("/bin", "/usr/bin") if Path(folder, tool).exists())
        )
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    finished = run(tools / "bash", copied, PATH=str(tools))
    assert finished.returncode == 1
    assert "no Python 3.11 or newer found" in finished.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.fixture
def lowest(tmp_path):
    """A copy of the scripts whose .venv-lowest only notes what it is asked to do."""
    for name in ("scripts/install.sh", "scripts/test.sh", "pyproject.toml", "constraints-lowest.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
        (tmp_path / name).chmod(0o755)
    python = tmp_path / ".venv-lowest" / "bin" / "python"
    python.parent.mkdir(parents=True)
    note = tmp_path / "note"
    python.write_text(
        "#!/usr/bin/env bash\n"
        f'[[ "$2" != pytest ]] || echo "$@" >>{note}\n'
        f'while (($#)); do [[ "$1" != -c ]] || grep -s ^torch== "$2" >>{note}; shift; done; exit 0\n'
    )
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "torch", "handed_on"),
    [
        (["--torch", "2.11.0", "tests/data", "-x"], "torch==2.11.0", ["tests/data", "-x"]),
        (["tests/data"], "torch==2.13.0", ["tests/data"]),
        ([], "torch==2.13.0", []),
    ],
)
def test_the_lowest_set_takes_a_torch(options, torch, handed_on, lowest):
    finished = run(lowest / "scripts" / "test.sh", "--lowest", *options)
    assert finished.returncode == 0, finished.stderr
    installed, tested = (lowest / "note").read_text().splitlines()
    assert installed == torch and tested.split("--ignore tests/test_notebooks.py")[1].split() == handed_on
    again = run(lowest / "scripts" / "test.sh", "--lowest", *options)
    assert again.returncode == 0 and (lowest / "note").read_text().splitlines() == [installed, tested, tested]


@pytest.mark.parametrize("options", [["--torch"], ["--torch", "newest"], ["--torch", "tests/data"]])
def test_a_torch_without_a_version_is_refused(options, lowest):
    finished = run(lowest / "scripts" / "test.sh", "--lowest", *options)
    assert finished.returncode == 1 and "--torch needs a version, such as --torch 2.11.0" in finished.stderr
    assert not (lowest / "note").exists()
