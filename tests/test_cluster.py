"""The judge of the runs on several hosts; the hosts themselves want root (scripts/cluster/two_hosts.sh)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from torch.distributed.run import get_args_parser

from scripts.cluster.same_losses import main

CLUSTER = Path(__file__).parents[1] / "scripts" / "cluster"


def run_folder(folder: Path, losses: list[float], processes: int, resumed_from: list[int]) -> Path:
    folder.mkdir()
    lines = [json.dumps({"step": step, "train/loss": loss}) for step, loss in enumerate(losses, 1)]
    (folder / "metrics.jsonl").write_text("\n".join([*lines, json.dumps({"step": 2, "eval/loss": 1.0})]))
    summary = {"num_processes": processes, "resumed_from": resumed_from}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.mark.parametrize(
    ("losses", "processes", "resumed_from", "resumed", "code"),
    [
        ([2.0, 1.000001], 2, [], False, 0),
        ([2.0, 1.00002], 2, [], False, 1),
        ([2.0], 2, [], False, 1),
        ([2.0, 1.0], 1, [], False, 1),
        ([2.0, 1.0], 2, [], True, 1),
        ([2.0, 1.0], 2, [1], True, 0),
    ],
)
def test_losses_processes_and_resume_are_judged(losses, processes, resumed_from, resumed, code, tmp_path):
    one = run_folder(tmp_path / "one", [2.0, 1.0], 1, [])
    two = run_folder(tmp_path / "two", losses, processes, resumed_from)
    assert main(one, two, [1, 2], resumed=resumed) == code


@pytest.mark.parametrize("script", ["two_hosts.sh", "three_hosts.sh"])
def test_help_and_what_is_missing(script):
    def start(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(["bash", str(CLUSTER / script), *arguments], capture_output=True, text=True)

    assert "usage: scripts/cluster" in start("--help").stdout
    for arguments, words in (((), "--out DIR is missing"), (("--oout", "x"), "--oout is unknown")):
        found = start(*arguments)
        assert found.returncode == 1 and words in found.stderr


@pytest.mark.parametrize(
    ("template", "grace"), [("slurm.sbatch", r"TERM@(\d+)"), ("kubernetes.yaml", r"PeriodSeconds: (\d+)")]
)
def test_torchrun_gives_the_ranks_most_of_the_time_that_the_scheduler_gives_it(template, grace):
    text = (CLUSTER / template).read_text(encoding="utf-8")
    (option,) = re.findall(r"--shutdown-timeout[ =]\d+", text)
    given = get_args_parser().parse_args([*re.split("[ =]", option), "script"]).shutdown_timeout
    assert 200 < given < int(re.search(grace, text)[1])  # type: ignore[index]
