"""The number format vectors are computed in: bfloat16 where the hardware has it and the vectors hardly change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from textssl.errors import UserError, shortened
from textssl.inference.features import Encoder
from textssl.inference.loading import default_device, first_line
from textssl.system.hardware import bfloat16_feature, native_bfloat16

COMPUTES = ("auto", "float32", "bfloat16")
LEAST_COSINE = 0.9995  # of the two vectors of any text of the sample
UNABLE = (UserError, RuntimeError, TypeError)  # what a model raises that lacks an operation in bfloat16
SAMPLE_CHARACTERS = 2**16  # of the sample of texts that is computed in both formats


class Compute(NamedTuple):
    """A format, and why."""

    format: str
    why: str

    def __str__(self) -> str:
        return f"computing in {self.format} ({self.why})"


def fast_format() -> Compute:
    """The format in which the hardware is fast, whatever accuracy the vectors lose."""
    cuda = default_device().type == "cuda"
    if native_bfloat16(cuda):
        return Compute("bfloat16", "native on this GPU" if cuda else f"{bfloat16_feature()} of this processor")
    return Compute("float32", f"no native bfloat16 on this {'GPU' if cuda else 'processor'}")


def proved_format(wanted: Compute, load: Callable[[str], Encoder], texts: Sequence[str]) -> Compute:
    """bfloat16 if it is wanted, the model can and the vectors of all texts keep their direction in it, else float32.

    load: a format -> the encoder in it.
    """
    if wanted.format == "float32":
        return wanted
    if not texts:
        return Compute("float32", "there is no text to try another format on")
    exact = load("float32")
    if not exact.narrows:
        return Compute("float32", "this encoder has no other format")
    expected = exact.embed(texts)
    try:
        narrow = load("bfloat16").embed(texts)
    except UNABLE as error:
        return Compute("float32", f"this model does not run in bfloat16: {shortened(first_line(error))}")
    worst = worst_cosine(expected, narrow)
    seen = f"worst cosine to float32 {worst:.5f} in a sample of {len(texts):,}"
    if worst > LEAST_COSINE:
        return Compute("bfloat16", f"{wanted.why}; {seen}")
    return Compute("float32", f"bfloat16 loses too much: {seen}, which has to be above {LEAST_COSINE}")


def check_runs(encoder: Encoder, format: str) -> Encoder:
    """The encoder, if it can embed a text in the format that was asked for. Raises UserError."""
    try:
        encoder.embed(["text"])
    except UserError:
        raise
    except UNABLE as error:
        raise UserError(
            f"this model does not run in {format} ({shortened(first_line(error))}): leave --compute {format} out"
        ) from error
    return encoder


def worst_cosine(left: np.ndarray, right: np.ndarray) -> float:
    """The least cosine between matching rows, (rows, width) each; rows that are zero in both have cosine 1."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    either = left.any(axis=1) | right.any(axis=1)
    cosines = np.where(either, (left * right).sum(axis=1) / np.where(lengths > 0, lengths, 1), 1.0)
    return float(cosines.min(initial=1.0))
