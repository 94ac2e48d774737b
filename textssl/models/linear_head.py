"""A linear classifier on the vectors of a sentence encoder, kept beside it in two small files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from textssl.errors import UserError
from textssl.models.build import BROKEN_FOLDER
from textssl.system.files import write_text, written_file

WEIGHTS, LABELS = "classifier.safetensors", "classifier.json"


@dataclass(frozen=True)
class LinearHead:
    """labels: names of the classes. weight: (classes, width) float64. bias: (classes,) float64."""

    labels: list[str]
    weight: np.ndarray
    bias: np.ndarray

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """(texts, width) -> (texts, classes)."""
        return vectors.astype(np.float64) @ self.weight.T + self.bias

    def save(self, folder: Path) -> None:
        # safetensors writes memory as it lies: transposed arrays, as scikit-learn gives them, would come back scrambled
        tensors = {"weight": np.ascontiguousarray(self.weight), "bias": np.ascontiguousarray(self.bias)}
        with written_file(folder / WEIGHTS) as aside:
            save_file(tensors, aside)
        text = json.dumps({"labels": self.labels}, ensure_ascii=False, indent=1)
        write_text(folder / LABELS, text + "\n")

    @classmethod
    def load(cls, folder: Path) -> LinearHead:
        """Raises UserError where the files are missing or do not fit each other."""
        try:
            labels = json.loads((folder / LABELS).read_text(encoding="utf-8"))["labels"]
            tensors = load_file(folder / WEIGHTS)
            head = cls(labels, tensors["weight"], tensors["bias"])
        except BROKEN_FOLDER as error:
            raise UserError(f"{folder} has no readable {LABELS} and {WEIGHTS}: {error}") from None
        if head.weight.shape[0] != len(labels) or head.bias.shape != (len(labels),):
            raise UserError(f"{folder}: {WEIGHTS} has another number of classes than {LABELS}")
        return head


def softmax(logits: np.ndarray) -> np.ndarray:
    """(rows, classes) -> probabilities, in float64."""
    logits = logits.astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)
