"""One process x 4 micro-batches = 4 x 1 = 2 x 2, replicated or sharded, for terms and features: gradients, curves."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.forked import Ranks
from tests.once import made_once
from tests.training.worlds import ALL, label, make_data
from textssl.objectives import OBJECTIVES, SUPERVISED

ONE = (1, 8, 1)  # one process, the whole batch at once: what all others are held against
FEW = (
    "mlm",
    "infilling",
    "replaced_token",
    "byol",
    "moco",
    "deepcluster",
    "anew",
    "sum",
)  # scripts/verify.sh distributed: all
KINDS = "mlm", "moco", "deepcluster"  # of rows, of features, with a refresh
REST = tuple(name for name in ALL if name not in FEW)
LAUNCHES = [  # (processes, micro-batch), {parts of a parameter: steps after the first gradient}, objectives
    ((1, 8), {1: 3}, FEW),
    ((1, 8), {1: 2}, REST),
    ((1, 2), {1: 3}, FEW),
    ((2, 2), {2: 3}, FEW),
    ((2, 2), {2: 2}, REST),
    ((4, 2), {2: 1, 1: 0, 4: 0}, KINDS),
    ((3, 2), {3: 1}, (*KINDS, "sum")),  # uneven: of samples, and of rows
]
RUNS, RUN_STEPS, RUN = [ONE, (2, 2, 2)], 6, (*KINDS, "sum")  # kinds that also make a whole run of some
CASES = [
    (objective, (*world, parts))
    for world, kinds, objectives in LAUNCHES
    for parts in kinds
    for objective in objectives
    if (*world, parts) != ONE
]


def words(kind: tuple[int, int, int]) -> str:
    processes, micro_batch, shards = kind
    how = "replicated" if shards == 1 else "sharded" if shards == processes else "hybrid"
    return f"{processes} x {micro_batch} {how}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What all launches left. Of two processes of pytest-xdist one begins with the first launch, one with the last."""
    folder = made_once(tmp_path_factory, "worlds", make_data)
    numbered = list(enumerate(LAUNCHES))
    for number, launch in reversed(numbered) if os.environ.get("PYTEST_XDIST_WORKER") == "gw1" else numbered:
        made_once(tmp_path_factory, f"worlds-{number}", lambda _, launch=launch: run_world(folder, *launch))
    return folder


def run_world(folder: Path, world: tuple[int, int], kinds: dict[int, int], objectives: tuple[str, ...]) -> None:
    processes, micro_batch = world
    first = (*world, next(iter(kinds))) in RUNS and objectives != REST
    runs = [f"run:{RUN_STEPS}:{','.join(RUN)}"] if first else []
    parts = ",".join(f"{parts}:{steps}" for parts, steps in kinds.items())
    arguments = [str(folder), str(micro_batch), parts, *runs, *objectives]
    ranks = Ranks(["-m", "tests.training.worlds", *arguments], processes)
    _, errors = ranks.communicate()
    assert ranks.returncode == 0, errors[-3000:]


def test_every_objective_is_proved():
    assert {*OBJECTIVES, *SUPERVISED} <= set(ALL)


@pytest.mark.slow
@pytest.mark.parametrize("objective, kind", CASES, ids=lambda case: case if isinstance(case, str) else words(case))
def test_gradients_and_steps_in_float64_are_those_of_one_process(folder, objective, kind):
    """Parameters, and what commit moves: queues, teachers, running means."""
    expected = load_file(folder / f"{objective}-{label(*ONE)}.safetensors")
    found = load_file(folder / f"{objective}-{label(*kind)}.safetensors")
    measured = {name.partition("/")[0] for name in found}
    expected = {name: value for name, value in expected.items() if name.partition("/")[0] in measured}
    assert expected.keys() == found.keys() and expected
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-9), name
    assert max(value.abs().max() for name, value in expected.items() if name.startswith("gradient/")) > 1e-3
    if objective == "anew" and "after-3/classifier.weight" in expected:
        moved = expected["after-3/classifier.weight"] - expected["after-1/classifier.weight"]
        assert moved.abs().mean() > 0.01, "the head was drawn anew in between"
    if objective == "clustered" and "after-1/refreshed" in expected:
        assert expected["after-1/refreshed"] == 1 and 0 < expected["after-1/sides"].float().mean() < 1
    if objective == "moco" and "after-3/filled" in expected:
        assert expected["after-3/filled"] == 20 and expected["after-3/queue"].abs().sum() > 1


@pytest.mark.slow
@pytest.mark.parametrize("objective", RUN)
def test_loss_curves_in_float32_are_those_of_one_process(folder, objective):
    one, two = (curve(folder, objective, world) for world in RUNS)
    assert len(one) == len(two) == RUN_STEPS
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-5
    run = folder / f"run-{objective}-{label(*RUNS[1])}"
    assert json.loads((run / "summary.json").read_text())["num_processes"] == 2


def curve(folder: Path, objective: str, world: tuple[int, int, int]) -> list[float]:
    lines = (folder / f"run-{objective}-{label(*world)}" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train/loss"] for line in lines if "train/loss" in line]
