"""Passes over a data set that is read once, with dropout off: predictions of a classifier, vectors of a corpus."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from textssl.batch import Batch
from textssl.data.batches.loader import Steps
from textssl.distributed import rank
from textssl.objectives.base import Encoded, Objective
from textssl.training.precision import widened
from textssl.training.step import gather, seed_torch


@torch.no_grad()
def predictions(
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
        for number, batch in enumerate(batches):
            seed_torch(0, step, rank(), number)
            features.append({"logits": encode(batch).features["logits"], "targets": batch.targets})  # type: ignore[attr-defined]
        found = gather(features, batches).features
        logits.append(found["logits"].cpu().numpy())
        targets.append(found["targets"].cpu().numpy())
    objective.train(was_training)
    return np.concatenate(logits), np.concatenate(targets)


@torch.no_grad()
def corpus_vectors(
    objective: Objective, passes: Sequence[Steps], device: torch.device, precision: str
) -> tuple[Tensor, Tensor]:
    """(documents,) int64 keys and (documents, width) trainable vectors, in one order on every rank; dropout is off.

    passes: the documents of each corpus, read once, in batches of Texts that are dealt over the ranks. All vectors are
    held in memory, on every rank.
    """
    was_training = objective.training
    objective.eval()
    keys, vectors = [], []
    for number, dataset in enumerate(passes):
        for step in range(len(dataset)):
            batches = [batch.to(device) for batch in dataset[step]]
            features = []
            for place, batch in enumerate(batches):
                seed_torch(number, step, rank(), place)
                with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                    found = objective.backbone.trainable_vectors(batch)
                features.append({"vectors": widened(found), "keys": batch.source})  # type: ignore[attr-defined]
            gathered = gather(features, batches).features
            keys.append(gathered["keys"])
            vectors.append(gathered["vectors"])
    objective.train(was_training)
    return torch.cat(keys), torch.cat(vectors)
