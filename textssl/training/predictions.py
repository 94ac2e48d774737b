"""What a supervised objective answers to every example of a data set that is read once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from textssl.batch import Batch
from textssl.data.batches.loader import Steps
from textssl.distributed import rank
from textssl.objectives.base import Encoded, Objective
from textssl.training.gradcache import gather, seed_torch


@torch.no_grad()
def answers(
    objective: Objective, encode: Callable[[Batch], Encoded], dataset: Steps, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """(examples, outputs) logits and (examples,) targets, in the order of the data; the same on every rank.

    The examples are dealt over the ranks. Dropout is off for the pass.
    """
    was_training = objective.training
    objective.eval()
    logits, targets = [], []
    for step in range(len(dataset)):
        batches = [batch.to(device) for batch in dataset[step]]
        features = []
        for place, batch in enumerate(batches):
            seed_torch(0, step, rank(), place)
            features.append({"logits": encode(batch).features["logits"], "targets": batch.targets})  # type: ignore[attr-defined]
        found = gather(features, batches).features
        logits.append(found["logits"].cpu().numpy())
        targets.append(found["targets"].cpu().numpy())
    objective.train(was_training)
    return np.concatenate(logits), np.concatenate(targets)
