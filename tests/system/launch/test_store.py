"""How the processes of a launch agree on a part of its store that no earlier start has used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from torch._C._distributed_c10d import HashStore
from torch.distributed import DistStoreError

from textssl.errors import UserError
from textssl.system.launch.store import ASKING, answer_all, ask, launch_arguments

SHORT = timedelta(seconds=5)


def test_every_start_has_a_name_of_its_own_whatever_an_earlier_one_left():
    store = HashStore()
    store.queue_push(ASKING, "one that was killed")
    names = []
    for world in (3, 2):  # the second start has lost a host
        with ThreadPoolExecutor(world) as others:
            heard = [others.submit(ask, store, rank, "cuda", SHORT) for rank in range(1, world)]
            names.append(answer_all(store, world, "cuda", SHORT))
        assert [one.result() for one in heard] == [names[-1]] * (world - 1)
    assert names[0] != names[1]


def test_ranks_that_compute_on_another_kind_of_device_are_refused():
    store = HashStore()
    with ThreadPoolExecutor(1) as first:
        waiting = first.submit(answer_all, store, 2, "cuda", SHORT / 20)
        with pytest.raises(UserError, match=r"^rank 1 on \S+ computes on cpu, and rank 0 on \S+ on cuda: see"):
            ask(store, 1, "cpu", SHORT)
    assert isinstance(waiting.exception(), DistStoreError)


def test_absent_ranks_are_awaited_for_the_time_that_is_given():
    with pytest.raises(DistStoreError, match="2 of 3 processes"):
        answer_all(HashStore(), 3, "cpu", SHORT / 100)
    with pytest.raises(DistStoreError):
        ask(HashStore(), 1, "cpu", SHORT / 100)


def test_a_process_alone_needs_no_store(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "1")
    assert launch_arguments("cpu", SHORT) == {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK")  # no torchrun
    assert launch_arguments("cpu", SHORT) == {}


RESTARTED = """
import json, os, sys
import torch.distributed as dist
from textssl.distributed import join_processes, rank, sum_over_ranks
join_processes("cpu", 60)
store = dist.distributed_c10d._get_default_store()
total = sum_over_ranks([1.0])
if rank() == 0:
    print(json.dumps({"stale": store.check(["written"]), "sum": total}), flush=True)
sum_over_ranks([1.0])
store.set("written", "1")
sys.exit(os.environ["TORCHELASTIC_RESTART_COUNT"] == "0")
"""


@pytest.mark.slow
def test_processes_that_torchrun_starts_again_find_nothing_of_the_first_start(tmp_path):
    (tmp_path / "restarted.py").write_text(RESTARTED)
    launch = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "1", str(tmp_path / "restarted.py")]
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "torch.distributed.run", *launch],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    said = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert said == [{"stale": False, "sum": [2.0]}] * 2
