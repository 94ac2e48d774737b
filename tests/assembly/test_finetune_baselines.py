"""Baselines that cannot be made: left out, or the end of all processes."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

from tests.labelled import finetune_config
from textssl.assembly import finetune_baselines as beside
from textssl.assembly.fitting import telling_of_memory
from textssl.data.labelled.splits import read_splits
from textssl.distributed import Accelerator
from textssl.errors import OutOfMemory, UserError


def short_of_memory(*arguments):
    with telling_of_memory():
        raise MemoryError


def impossible(*arguments):
    raise UserError("the run itself starts from random weights")


@pytest.mark.parametrize(
    ("run", "processes", "ends"),
    [(impossible, 1, False), (impossible, 2, False), (short_of_memory, 1, False), (short_of_memory, 2, True)],
)
def test_a_rank_without_memory_ends_all_and_an_impossible_baseline_is_left_out(
    tmp_path, monkeypatch, run, processes, ends
):
    monkeypatch.setattr(beside, "other_run", run)
    config = finetune_config(tmp_path, "evaluation.baselines=[scratch, majority]")
    told = io.StringIO()
    given = config, read_splits(config.data, 0), Accelerator(torch.device("cpu"), processes), Console(file=told)
    if ends:
        with pytest.raises(
            OutOfMemory, match=r"baselines: scratch cannot be made: there is not enough memory .* or leave scratch out"
        ):
            beside.make_baselines(*given)
    else:
        assert list(beside.make_baselines(*given).answers) == ["majority"]
        assert "scratch is left out" in " ".join(told.getvalue().split())
