"""Passes over a data set that is read once, with dropout off: predictions of a classifier, vectors of a corpus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textssl.batch import Batch
from textssl.data.batches.loader import Steps
from textssl.distributed import rank
from textssl.objectives.base import Encoded, Objective
from textssl.training.precision import computing_in, widened
from textssl.training.step import even_out, gather, seed_torch


@torch.no_grad()
def predictions(
    objective: Objective, encode: Callable[[Batch], Encoded], dataset: Steps, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """(examples, outputs) logits and (examples,) targets, in the order of the data; the same on every rank.

    The examples are dealt over the ranks. Dropout is off for the pass.
    """

    def features_of(batch: Any) -> dict[str, Tensor]:
        return {"logits": encode(batch).features["logits"], "targets": batch.targets}

    found = read_once(objective, dataset, device, features_of)
    return found["logits"].cpu().numpy(), found["targets"].cpu().numpy()


@torch.no_grad()
def corpus_vectors(
    objective: Objective, passes: Sequence[Steps], device: torch.device, precision: str
) -> tuple[Tensor, Tensor]:
    """(documents,) int64 keys and (documents, width) trainable vectors, in one order on every rank; dropout is off.

    passes: the documents of each corpus, read once, in batches of Texts that are dealt over the ranks. All vectors are
    held in memory, on every rank.
    """

    def features_of(batch: Any) -> dict[str, Tensor]:
        with computing_in(precision, device):
            vectors = objective.trainable_vectors(batch)
        return {"vectors": widened(vectors), "keys": batch.source}

    found = [read_once(objective, dataset, device, features_of) for dataset in passes]
    return torch.cat([one["keys"] for one in found]), torch.cat([one["vectors"] for one in found])


def read_once(
    objective: Objective, dataset: Steps, device: torch.device, features_of: Callable[[Batch], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """The features of all samples, in the order of the data, the same on every rank; the objective is in eval mode."""
    was_training = objective.training
    objective.eval()
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for step in range(len(dataset)):
        batches = [batch.to(device) for batch in even_out(dataset[step], device)]
        features = []
        for number, batch in enumerate(batches):
            seed_torch(0, step, rank(), number)
            features.append(features_of(batch))
        for name, rows in gather(features, batches).features.items():
            parts[name].append(rows)
    objective.train(was_training)
    return {name: torch.cat(rows) for name, rows in parts.items()}
