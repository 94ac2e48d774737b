"""The judge of the runs on several hosts; the hosts themselves want root (scripts/cluster/two_hosts.sh)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
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
    ("template", "grace"), [("slurm.sbatch", r"USR1@(\d+)"), ("kubernetes.yaml", r"PeriodSeconds: (\d+)")]
)
def test_torchrun_gives_the_ranks_most_of_the_time_that_the_scheduler_gives_it(template, grace):
    text = (CLUSTER / template).read_text(encoding="utf-8")
    (option,) = re.findall(r"--shutdown-timeout[ =]\d+", text)
    given = get_args_parser().parse_args([*re.split("[ =]", option), "script"]).shutdown_timeout
    assert 200 < given < int(re.search(grace, text)[1])  # type: ignore[index]


SCHEDULER = {  # as those of SLURM: what matters here of each
    "scontrol": 'if [[ "$1" == show ]]; then echo host-1; else echo "$*" >>said; fi',
    # a step is of the controller's, not of srun's process, which answers SIGTERM by killing all at once
    "srun": """
        [[ "$1 $2" == "--cpus-per-task 64" ]] || exit 1
        setsid bash -c 'trap "echo saved >>said; exit 75" TERM; touch begun; while :; do sleep 0.02; done' &
        echo $! >task
        trap 'kill -KILL $(cat task); echo killed >>said' TERM
        wait""",
    "scancel": '[[ "$*" == "--signal=TERM 7.0" ]] && kill -TERM "$(cat task)"',
}


def test_before_its_time_is_over_a_job_of_slurm_saves_and_is_queued_again(tmp_path):
    for name, body in SCHEDULER.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = (CLUSTER / "slurm.sbatch").read_text(encoding="utf-8")
    number = re.search(r"--signal=B:(\w+)@", script)
    assert number
    job = tmp_path / "job"
    job.write_text(re.sub(r'source .*activate"', "", script), encoding="utf-8")
    variables = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "64"}
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_NODELIST": "host-[1-2]"}
    batch = subprocess.Popen(["bash", str(job)], cwd=tmp_path, env={**os.environ, **variables, **path})
    end = time.monotonic() + 20
    while not (tmp_path / "begun").exists() and time.monotonic() < end:
        time.sleep(0.02)
    batch.send_signal(getattr(signal, f"SIG{number[1]}"))
    batch.wait(20)
    assert (tmp_path / "said").read_text().splitlines() == ["saved", "requeue 7"]
