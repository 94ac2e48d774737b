"""Which device and processes a run gets, whatever else is in the program or its environment."""

from __future__ import annotations

import json
import os
import socket
from types import SimpleNamespace

import pytest
import torch

from tests.forked import Forked
from tests.tiny import make_corpus, tiny_config
from textssl import distributed
from textssl.assembly.runs import start_accelerator
from textssl.commands.pretrain import pretrain
from textssl.config import parse_config
from textssl.distributed import join_processes
from textssl.errors import UserError


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
