"""The check of a GPU: a part that fails or hangs costs only itself, and the check finds what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.gpu_check import __main__ as check
from scripts.gpu_check.__main__ import (
    PARTS,
    SETUP_SECONDS,
    TOGETHER_SECONDS,
    TOTAL_SECONDS,
    Part,
    Runner,
    allowed,
    chosen_parts,
    table,
)
from scripts.gpu_check.part import finding

ROOT = Path(__file__).resolve().parent.parent


def act(name: str, work: Path, rows: Path, dry: bool, log: Path, threads: int | None) -> None:
    """In the place of the real parts: one that is good, one that fails, one that hangs with a child of its own."""
    os.setsid()
    finding(rows, name, "begins", True, "")
    if name == "fails":
        os._exit(3)
    if name == "hangs":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (work / "child").write_text(str(child.pid))
        time.sleep(600)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_part_that_fails_or_hangs_costs_only_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(check, "PRELOADED", ())  # what the real parts need
    runner = Runner(tmp_path, tmp_path, False, 120, act)
    limits = {"good": 60, "fails": 60, "hangs": 6, "later": 60}
    found = {name: runner.run(name, limit) for name, limit in limits.items()}
    assert found["good"]["outcome"] == found["later"]["outcome"] == "done"
    assert found["fails"]["outcome"] == "failed, exit code 3"
    assert found["hangs"]["outcome"] == "ended after 6 s"
    assert all([row["check"] for row in part["rows"]] == ["begins"] for part in found.values())
    deadline = time.monotonic() + 10
    child = int((tmp_path / "child").read_text())
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(child)
    shown = table(list(found.values()), {"card": "a card", "python": "3", "versions": {"torch": "2"}})
    assert shown.endswith("4 passed, 0 failed, 2 parts not finished")


def test_no_part_begins_when_the_time_is_over(tmp_path):
    assert Runner(tmp_path, tmp_path, False, 3, act).run("good", 60)["outcome"] == "not run: out of time"


def test_limits_add_up_and_what_a_part_leaves_goes_to_the_next():
    alone = [part.seconds for part in PARTS if part.alone]
    assert SETUP_SECONDS + TOGETHER_SECONDS + sum(alone) <= TOTAL_SECONDS
    parts = [Part("one", 30, alone=True), Part("two", 20, alone=True)]
    assert allowed(parts, 50) == 30 and allowed(parts, 80) == 60 and allowed(parts[1:], 70) == 70
    assert allowed(parts, 40) == 30  # what comes first is what matters most


def test_parts_are_found_by_the_beginning_of_their_names():
    assert [part.name for part in chosen_parts("smoke-c,exactness-waits")] == [
        "smoke-clm",
        "smoke-crops",
        "smoke-classification",
        "exactness-waits",
    ]
    assert chosen_parts(None) == PARTS
    with pytest.raises(SystemExit, match="no part nothing"):
        chosen_parts("nothing")


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        "smoke-mlm,exactness-resumed,speed-mlm,speed-cost",
        "peers",
        pytest.param("smoke,numerics,exactness", marks=pytest.mark.campaign),
    ],
)
def test_parts_pass_on_a_cpu_and_leave_their_figures(names, tmp_path):
    command = [ROOT / "scripts" / "gpu_check.sh", "--dry-run", "--out", tmp_path, "--only", names]
    environment = {**os.environ, "PYTHON": sys.executable}
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-2000:]
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["card"] == "CPU" and written["dry_run"] and written["versions"]["torch"]
    rows = {row["check"]: row for part in written["parts"] for row in part["rows"]}
    assert "exactness" not in names or rows["muon: resumed equals unbroken"]["passed"]
    assert "speed" not in names or rows["mlm, varlen"]["figure"] > 0
    assert "speed" not in names or rows["mlm, train.deterministic beside without"]["figure"] > 0
    if names == "peers":
        peers = [row for row in rows.values() if "theirs" in row]
        assert len(peers) == 5 and all(row["ours"] > 0 and row["theirs"] > 0 for row in peers)
    assert all(row["passed"] is not False for row in rows.values())
    assert (tmp_path / "table.txt").read_text() in finished.stdout
    assert len(list((tmp_path / "logs").iterdir())) == len(written["parts"])
