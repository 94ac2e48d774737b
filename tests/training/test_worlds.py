"""One process x 4 micro-batches = 4 x 1 = 2 x 2, for terms and for features: gradients and loss curves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tiny import make_corpus
from tests.training.worlds import OBJECTIVES, OWN, SENTENCES

ROOT = Path(__file__).parents[2]
WORLDS = {(1, 8): "1 process, whole batch", (1, 2): "1 x 4", (2, 2): "2 x 2", (4, 2): "4 x 1", (3, 2): "3, uneven"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    make_corpus(folder)
    for processes, micro_batch in WORLDS:
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
        command += ["--master_port", str(29_500 + os.getpid() % 500), "-m", "tests.training.worlds"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, str(folder), str(micro_batch)], env=environment, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("objective", [*OBJECTIVES, *SENTENCES, *OWN])
@pytest.mark.parametrize("world", [world for world in WORLDS if world != (1, 8)], ids=lambda world: WORLDS[world])
def test_gradients_and_three_steps_in_float64_are_those_of_one_process(folder, objective, world):
    """Parameters, and what commit moves: queues, teachers, running means."""
    expected = load_file(folder / f"{objective}-1x8.safetensors")
    found = load_file(folder / f"{objective}-{world[0]}x{world[1]}.safetensors")
    assert expected.keys() == found.keys() and expected
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-9), name
    assert max(value.abs().max() for name, value in expected.items() if name.startswith("gradient/")) > 1e-3
    if objective == "clustered":
        assert expected["after/refreshed"] == 1 and 0 < expected["after/sides"].float().mean() < 1
    if objective == "moco":
        assert expected["after/filled"] == 20 and expected["after/queue"].abs().sum() > 1


@pytest.mark.slow
@pytest.mark.parametrize("objective", [*OBJECTIVES, *SENTENCES, *OWN])
@pytest.mark.parametrize("world", [world for world in WORLDS if world != (1, 8)], ids=lambda world: WORLDS[world])
def test_loss_curves_in_float32_are_those_of_one_process(folder, objective, world):
    expected, found = (curve(folder, objective, *one) for one in ((1, 8), world))
    assert len(expected) == len(found) == 20
    assert max(abs(a - b) for a, b in zip(expected, found, strict=True)) < 5e-5
    summary = json.loads((folder / f"run-{objective}-{world[0]}x{world[1]}" / "summary.json").read_text())
    assert summary["num_processes"] == world[0]


def curve(folder, objective, processes, micro_batch):
    lines = (folder / f"run-{objective}-{processes}x{micro_batch}" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train/loss"] for line in lines if "train/loss" in line]
