"""One process x 4 micro-batches = 4 x 1 = 2 x 2, for terms and for features: gradients and loss curves."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.forked import Ranks
from tests.once import made_once
from tests.tiny import make_corpus
from tests.training.worlds import OBJECTIVES, OWN, SENTENCES

WORLDS = {(1, 8): "1 process, whole batch", (1, 2): "1 x 4", (2, 2): "2 x 2", (4, 2): "4 x 1", (3, 2): "3, uneven"}
RUNS = [(1, 8), (2, 2)]  # worlds that also make a whole run of every objective


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_once(tmp_path_factory, "worlds", run_worlds)


def run_worlds(folder: Path) -> None:
    make_corpus(folder)
    for processes, micro_batch in WORLDS:
        run = ["run"] if (processes, micro_batch) in RUNS else []
        ranks = Ranks(["-m", "tests.training.worlds", str(folder), str(micro_batch), *run], processes)
        _, errors = ranks.communicate()
        assert ranks.returncode == 0, errors[-3000:]


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
def test_loss_curves_in_float32_are_those_of_one_process(folder, objective):
    one, two = (curve(folder, objective, *world) for world in RUNS)
    assert len(one) == len(two) == 20
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 5e-5
    assert json.loads((folder / f"run-{objective}-2x2" / "summary.json").read_text())["num_processes"] == 2


def curve(folder, objective, processes, micro_batch):
    lines = (folder / f"run-{objective}-{processes}x{micro_batch}" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train/loss"] for line in lines if "train/loss" in line]
