"""Which device and processes a run gets, whatever else is in the program or its environment."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from tests.forked import Forked
from tests.tiny import make_corpus, tiny_config
from textssl import distributed, failing_ranks
from textssl.assembly.runs import start_accelerator
from textssl.commands.pretrain import pretrain
from textssl.config import parse_config
from textssl.distributed import join_processes
from textssl.errors import UserError
from textssl.failing_ranks import ending_together


def test_the_environment_does_not_change_what_is_trained(tmp_path, monkeypatch):
    make_corpus(tmp_path)
    norms = []
    for name in ("plain", "told"):
        pretrain(tiny_config(tmp_path, "mlm", "train.max_steps=2", "optimizer.name=adamw", out=name))
        lines = map(json.loads, (tmp_path / name / "metrics.jsonl").read_text().splitlines())
        norms.append([line["train/gradient_norm"] for line in lines if "train/gradient_norm" in line])
        for key, value in (("GRADIENT_ACCUMULATION_STEPS", "8"), ("MIXED_PRECISION", "bf16"), ("USE_CPU", "true")):
            monkeypatch.setenv(f"ACCELERATE_{key}", value)
    assert len(norms[0]) == 2 and norms[0] == norms[1]


def test_accelerates_settings_are_hidden_from_it_and_given_back(monkeypatch):
    seen = {}

    def state(cpu, timeout):
        seen.update(os.environ)
        return SimpleNamespace(num_processes=1, device=torch.device("meta"))

    monkeypatch.setattr(distributed, "PartialState", state)
    monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", "meta")
    assert join_processes("cpu", 60).device == torch.device("cpu")
    assert not [name for name in seen if name.startswith("ACCELERATE_")]
    assert os.environ["ACCELERATE_TORCH_DEVICE"] == "meta"


def test_each_run_of_a_program_has_the_device_that_it_asks_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # asked for by name: nothing here touches one
    for device in ("cpu", "cuda", "cpu"):
        assert start_accelerator(parse_config({"train": {"device": device}})).device.type == device
    assert start_accelerator(parse_config({})).device.type == "cuda"


def test_joined_processes_cannot_change_their_device(monkeypatch):
    state = SimpleNamespace(num_processes=2, device=torch.device("cuda:1"))
    monkeypatch.setattr(distributed, "PartialState", lambda cpu, timeout: state)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert join_processes("cuda", 60) == distributed.Accelerator(torch.device("cuda:1"), 2)
    with pytest.raises(UserError, match="asks for cpu, but an earlier run of this program joined its 2 processes on"):
        join_processes("cpu", 60)


def test_cards_that_cannot_talk_directly_are_told_not_to_try(monkeypatch):
    """Without that Accelerate refuses them, one process too, in a traceback."""
    monkeypatch.setattr(distributed, "check_cuda_p2p_ib_support", lambda: False)
    monkeypatch.setattr(distributed, "PartialState", lambda cpu, timeout: SimpleNamespace(num_processes=1))
    monkeypatch.setenv("NCCL_IB_DISABLE", "0")
    monkeypatch.setenv("NCCL_P2P_DISABLE", "")
    monkeypatch.delenv("NCCL_P2P_DISABLE")
    join_processes("cpu", 60)
    assert "NCCL_P2P_DISABLE" not in os.environ
    join_processes("cuda", 60)
    assert (os.environ["NCCL_P2P_DISABLE"], os.environ["NCCL_IB_DISABLE"]) == ("1", "0")


ALONE = """
from textssl.distributed import join_processes
from textssl.errors import UserError
try:
    join_processes("cpu", 1)
except UserError as error:
    print(error)
"""


def test_processes_that_do_not_find_each_other_say_so():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    process = Forked(["-c", ALONE], env={**os.environ, **launch, "RANK": "0", "LOCAL_RANK": "0"})
    said, errors = process.communicate(timeout=60)
    assert said.startswith("the processes of the launch did not find each other in 1 seconds"), errors


def test_two_processes_of_one_gpu_are_refused_and_all_are_awaited(monkeypatch):
    """NCCL says the one in a traceback, and waits for absent ones in its first message."""
    store = HashStore()
    monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", lambda: store)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def meet(place: int, gpu: str, world: int = 2, device: str = "cuda") -> None:
        monkeypatch.setattr(distributed, "rank", lambda: place)
        monkeypatch.setattr(distributed, "world_size", lambda: world)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=gpu))
        with distributed.telling_of_absent(0.01):
            distributed.meet(torch.device(device), timedelta(seconds=0.01))

    with pytest.raises(UserError, match=r"did not find each other in 0\.01 seconds"):
        meet(0, "a")
    with pytest.raises(UserError, match=r"^rank 1 on \S+ has the same GPU as rank 0 on \S+: .* of a host, 2 here$"):
        meet(1, "a")
    meet(1, "b")
    meet(0, "a")  # another run of the same program
    store = HashStore()
    meet(0, "a", 1, "cpu")


@pytest.mark.parametrize(("device", "given"), [("cpu", None), ("cuda", [3])])
def test_a_barrier_names_the_gpu_of_its_rank(device, given, monkeypatch):
    seen = []
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(dist.distributed_c10d, "_get_object_coll_device", lambda: device)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(dist, "barrier", lambda device_ids=None: seen.append(device_ids))
    distributed.barrier()
    assert seen == [given]


@pytest.mark.parametrize(
    ("device", "fails", "ending"), [("cuda", True, "abort"), ("cuda", False, "destroy"), ("cpu", True, "destroy")]
)
def test_a_rank_that_failed_does_not_wait_for_the_others_to_leave(device, fails, ending, monkeypatch):
    """NCCL's connections are closed by all ranks of a host together, and those wait for the one that failed."""
    seen = []
    monkeypatch.setattr(distributed, "_failures", [])
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(failing_ranks, "store_of_launch", HashStore)
    monkeypatch.setattr(failing_ranks, "LOOK_SECONDS", 0.01)
    with suppress(ValueError), ending_together("run"):
        if fails:
            raise ValueError("a bug, or an error of a GPU")
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: seen.append("destroy"))
    monkeypatch.setattr(dist.distributed_c10d, "_abort_process_group", lambda: seen.append("abort"))
    monkeypatch.setattr(dist.distributed_c10d, "_get_object_coll_device", lambda: device)
    distributed.leave_group()
    assert seen == [ending]
