"""One process x 4 micro-batches = 4 x 1 = 2 x 2, replicated or sharded, for terms and features: gradients, curves."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.forked import Ranks
from tests.once import made_once
from tests.tiny import make_corpus
from tests.training.worlds import ALL, label

ONE = (1, 8, 1)  # one process, the whole batch at once: what all others are held against
WORLDS = {  # (processes, micro-batch) -> in how many parts the parameters lie
    (1, 8): [1],
    (1, 2): [1],
    (2, 2): [1, 2],
    (3, 2): [3],  # uneven: of samples, and of rows
    (4, 2): [2, 1, 4],
}
RUNS = [ONE, (2, 2, 2)]  # worlds that also make a whole run of every objective
KINDS = [(*world, parts) for world, shards in WORLDS.items() for parts in shards if (*world, parts) != ONE]


def words(kind: tuple[int, int, int]) -> str:
    processes, micro_batch, shards = kind
    how = "replicated" if shards == 1 else "sharded" if shards == processes else "hybrid"
    return f"{processes} x {micro_batch} {how}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_once(tmp_path_factory, "worlds", run_worlds)


def run_worlds(folder: Path) -> None:
    make_corpus(folder)
    for (processes, micro_batch), shards in WORLDS.items():
        run = ["run"] if (processes, micro_batch, shards[-1]) in RUNS else []
        parts = ",".join(map(str, shards))
        ranks = Ranks(["-m", "tests.training.worlds", str(folder), str(micro_batch), parts, *run], processes)
        _, errors = ranks.communicate()
        assert ranks.returncode == 0, errors[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("objective", ALL)
@pytest.mark.parametrize("kind", KINDS, ids=words)
def test_gradients_and_steps_in_float64_are_those_of_one_process(folder, objective, kind):
    """Parameters, and what commit moves: queues, teachers, running means."""
    expected = load_file(folder / f"{objective}-{label(*ONE)}.safetensors")
    found = load_file(folder / f"{objective}-{label(*kind)}.safetensors")
    if "after-3" not in {name.partition("/")[0] for name in found}:
        expected = {name: value for name, value in expected.items() if not name.startswith("after-3/")}
    assert expected.keys() == found.keys() and expected
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=0, atol=1e-9), name
    assert max(value.abs().max() for name, value in expected.items() if name.startswith("gradient/")) > 1e-3
    if objective == "clustered":
        assert expected["after-1/refreshed"] == 1 and 0 < expected["after-1/sides"].float().mean() < 1
    if objective == "moco" and "after-3/filled" in expected:
        assert expected["after-3/filled"] == 20 and expected["after-3/queue"].abs().sum() > 1


@pytest.mark.slow
@pytest.mark.parametrize("objective", ALL)
def test_loss_curves_in_float32_are_those_of_one_process(folder, objective):
    one, two = (curve(folder, objective, world) for world in RUNS)
    assert len(one) == len(two) == 20
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 5e-5
    run = folder / f"run-{objective}-{label(*RUNS[1])}"
    assert json.loads((run / "summary.json").read_text())["num_processes"] == 2


def curve(folder: Path, objective: str, world: tuple[int, int, int]) -> list[float]:
    lines = (folder / f"run-{objective}-{label(*world)}" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["train/loss"] for line in lines if "train/loss" in line]
