"""Losses as pure functions: tensors in, sums or means in nats out. They know no model and no objective."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def linear_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """Cross entropy of softmax(hidden weight' + bias) at the labels: the SUM over tokens, in nats.

    hidden: (tokens, width). weight: (vocabulary, width). bias: (vocabulary,) or None. labels: (tokens,) int64.
    Returns a scalar in float32 (float64 for float64 input).
    """
    logits = F.linear(hidden, weight, bias)
    return F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), labels, reduction="sum")
