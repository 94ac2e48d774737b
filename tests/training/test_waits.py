"""On a GPU, reading a value off a tensor makes the host wait for all work before it: how often a step does so."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from rich.console import Console
from torch.utils._python_dispatch import TorchDispatchMode

from tests.tiny import SENTENCE_MODELS, make_corpus, sentence_config, tiny_config
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.objectives import resolve_objective
from textssl.training.signals import StopSignals

READING = {  # operations whose result, or its shape, the host has to know
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.equal.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.nonzero.default,
}


class Waits(TorchDispatchMode):
    """Counts what would make the host wait, by the operation's name."""

    def __init__(self):
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        by_mask = func is torch.ops.aten.index.Tensor and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        unsized = func is torch.ops.aten.repeat_interleave.Tensor and kwargs.get("output_size") is None
        if func in READING or by_mask or unsized:
            self.found[str(func)] += 1
        return func(*args, **kwargs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("waits")
    make_corpus(folder)
    return folder


STATIC = "model={config: {model_type: static, hidden_size: 32}}"
CASES = {
    "mlm": lambda folder: tiny_config(folder, "mlm", "train.micro_batch_size=2"),
    "mlm-eager": lambda folder: tiny_config(folder, "mlm", "model.attention=eager"),
    "mlm-varlen": lambda folder: tiny_config(folder, "mlm", "model.attention=varlen"),
    "clm-varlen": lambda folder: tiny_config(folder, "clm", "model.attention=varlen"),
    "clm": lambda folder: tiny_config(folder, "clm", "train.micro_batch_size=2", "optimizer.name=adamw"),
    "crops-static": lambda folder: sentence_config(folder, "crops", STATIC),
    **{
        name: lambda folder, name=name: sentence_config(folder, name)
        for name in SENTENCE_MODELS
        if name not in ("pairs", "sum")  # pairs splits features by a mask; sum is made of the others
    },
}
# Without a mask (rows of whole documents, sdpa), transformers asks a causal model's positions whether they are packed.
OF_TRANSFORMERS = {"clm": 1}
BEFORE_COMMIT = {
    "moco": 1,
    "byol": 1,
    "sigreg": 2,
    "swav": 1,
    "order": 1,
    "tsdae": 6,  # its decoder finds the words of each sentence by masks
}  # whether the step was finite; the number of the next slices


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_steady_step_never_waits_for_the_device(folder, case, monkeypatch):
    config = CASES[case](folder)
    objective, config.objective = resolve_objective(config.objective)
    trainer, _, _ = assemble(config, objective, start_accelerator(config), Console(stderr=True))
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    for module in ("step", "logbook", "optimizer"):  # as on a GPU
        monkeypatch.setattr(f"textssl.training.{module}.host_waits", lambda tensor: True)
    batches = trainer.dataset[0]
    totals = trainer.totals(batches)
    trainer.train_step(batches, totals)  # what is made once, such as the optimizer's state, may wait
    with Waits() as waits:
        batches = [batch.to("cpu") for batch in trainer.dataset[1]]
        waits.found.clear()  # up to here the loader worked, on the CPU
        trainer.train_step(batches, totals)
    allowed = len(batches) * OF_TRANSFORMERS.get(case, 0) + BEFORE_COMMIT.get(case, 0)
    assert waits.found.total() <= allowed, waits.found
    assert len(trainer.book.unread) == 2, "nobody has asked for a figure yet"
