"""The runs that parts make: small configurations, and trainers whose steps are made by hand."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from scripts.gpu_check.check import Check
from textssl.assembly.pretraining import assemble
from textssl.assembly.runs import start_accelerator
from textssl.config import parse_config
from textssl.distributed import Accelerator
from textssl.objectives import resolve_objective
from textssl.training.signals import StopSignals
from textssl.training.trainer import Trainer

STEPS = 30  # of a run
TINY = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 96}
MODELS = {  # preset on a GPU, and the configuration of a dry run or of both
    "modernbert": ("modernbert-mini", {"model_type": "modernbert", **TINY}),
    "llama": ("llama-mini", {"model_type": "llama", "num_key_value_heads": 2, **TINY}),
    "static": (None, {"model_type": "static", "hidden_size": 64, "init": "random"}),  # with LSA its loss begins low
}


def settings(check: Check, backbone: str, out: str, **sections: Any) -> dict[str, Any]:
    """The configuration of a short run as plain values; sections update its own."""
    preset, tiny = MODELS[backbone]
    model: dict[str, Any] = {"config": tiny} if check.dry or preset is None else {"preset": preset}
    if backbone != "static":
        model["embeddings"] = "random"  # an analysis of the corpus would take its seconds in every run
    values: dict[str, Any] = {
        "out": str(check.scratch / out),
        "tokenizer": str(check.work / "tokenizer"),
        "data": {"corpus": str(check.work / "corpus"), "sequence_length": 64 if check.dry else 256},
        "model": model,
        "train": {
            "max_steps": STEPS,
            "batch_size": 8 if check.dry else 64,
            "log_every": 1,
            "device": check.device.type,
            "checkpoint_every": None,
        },
        "evaluation": {"every": None, "max_rows": 32},
    }
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    return values


def trainer_by_hand(values: dict[str, Any], accelerator: Accelerator | None = None) -> Trainer:
    """A trainer that is asked for one step after another, instead of `fit`."""
    config = parse_config(values)
    objective, config.objective = resolve_objective(config.objective)
    trainer, _, _ = assemble(config, objective, accelerator or start_accelerator(config), Console(stderr=True))
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    return trainer
