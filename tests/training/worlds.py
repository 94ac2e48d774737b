"""Run under torchrun: gradients of one step in float64, or a short run, of every objective. Not a test itself.

torchrun --nproc_per_node N tests/training/worlds.py FOLDER MICRO_BATCH
"""

import os
import sys
from pathlib import Path

import torch
from rich.console import Console
from safetensors.torch import save_file

from tests.tiny import tiny_config
from textssl import distributed
from textssl.config import Config
from textssl.objectives import resolve_objective
from textssl.training.signals import StopSignals
from textssl.workflows.pretrain import assemble, pretrain, start_accelerator

OBJECTIVES = {"mlm": "mlm", "clm": "clm", "two_crops": "tests.objectives.contrastive:TwoCrops"}


def gradients(config: Config) -> dict[str, torch.Tensor]:
    """The summed gradient of the first step."""
    objective, config.objective = resolve_objective(config.objective)
    trainer, _, _ = assemble(config, objective, start_accelerator(config), Console(stderr=True))
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    batches = trainer.dataset[0]
    trainer.gradient(batches, trainer.agree(batches))
    return {name: p.grad for name, p in objective.named_parameters() if p.grad is not None}


def main(folder: Path, micro_batch: int) -> None:
    world = int(os.environ["WORLD_SIZE"])
    for name, objective in OBJECTIVES.items():
        micro = f"train.micro_batch_size={micro_batch}"
        found = gradients(tiny_config(folder, objective, micro, "train.precision=float64"))
        if distributed.rank() == 0:
            save_file(found, folder / f"{name}-{world}x{micro_batch}.safetensors")
    for name, objective in OBJECTIVES.items():
        out = f"run-{name}-{world}x{micro_batch}"
        pretrain(tiny_config(folder, objective, f"train.micro_batch_size={micro_batch}", out=out))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]))
