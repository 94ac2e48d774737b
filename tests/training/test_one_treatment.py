"""What ranks decide together, whatever each of them has found."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open

from tests.forked import Ranks
from tests.tiny import make_corpus

RUN = """
import sys
from pathlib import Path
from unittest.mock import patch
from tests.tiny import tiny_config
from textssl.commands.pretrain import pretrain
from textssl.distributed import rank
from textssl.objectives.base import Encoded, Term
from textssl.objectives.mlm import MaskedLM
from textssl.training import trainer

folder, shard, what = sys.argv[1:]
seen = {"steps": 0, "evaluations": 0}


def forward(self, batch, before=MaskedLM.forward):
    found = before(self, batch)
    seen["steps"] += self.training
    if what == "not finite" and self.training and rank() == 1 and seen["steps"] == 2:
        return Encoded({"mlm": Term(found.terms["mlm"].total * float("nan"))}, found.features)
    return found


def measure(*given):
    seen["evaluations"] += 1
    return {"eval/loss": 2.0 - (rank() == 1 and seen["evaluations"] == 2)}  # better on one rank alone


options = [f"train.shard={shard}", "train.max_steps=3", "train.checkpoint_every=1"]
if what == "figures":
    options += ["evaluation.every=1", "evaluation.best=eval/loss", "evaluation.patience=2"]
    patch("textssl.assembly.pretraining.held_out_loss", measure).start()
patch.object(MaskedLM, "forward", forward).start()
pretrain(tiny_config(Path(folder), "mlm", *options, "train.timeout_seconds=20", "train.keep_checkpoints=5"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    make_corpus(folder)
    return folder


def run(folder, shard: str, what: str) -> dict:
    ranks = Ranks(["-c", RUN, str(folder), shard, what], 2)
    _, errors = ranks.communicate(timeout=90)
    assert ranks.returncode == 0, errors[-3000:]
    return json.loads((folder / "run" / "summary.json").read_text())


def saved(folder, step: int) -> dict[str, torch.Tensor]:
    found = {}
    for file in sorted((folder / "run" / "checkpoints" / f"step-{step:08d}").glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            found |= {f"{file.name}/{name}": tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
    return found


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["1", "all"])
def test_a_loss_that_is_not_finite_on_one_rank_changes_nothing_on_any(folder, tmp_path, shard):
    for name in ("corpus", "tokenizer"):
        (tmp_path / name).symlink_to(folder / name)
    assert run(tmp_path, shard, "not finite")["skipped_steps"] == 1
    first, second, third = (saved(tmp_path, step) for step in (1, 2, 3))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(second[name], third[name]) for name in second)
    assert all(bool(value.isfinite().all()) for value in third.values())


@pytest.mark.slow
def test_figures_that_differ_between_ranks_decide_as_the_first_one_has_them(folder, tmp_path):
    """Else one rank saves, or stops, and waits for the others in vain."""
    for name in ("corpus", "tokenizer"):
        (tmp_path / name).symlink_to(folder / name)
    summary = run(tmp_path, "1", "figures")
    assert summary["best"] == {"figure": "eval/loss", "value": 2.0, "step": 1} and summary["stopped_early"]
