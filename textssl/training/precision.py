"""Which number format a device computes fast in."""

from __future__ import annotations

from typing import Literal

import torch

from textssl.distributed import world_size
from textssl.system.hardware import bfloat16_matrices, native_bfloat16


def choose_precision(cuda: bool) -> Literal["bfloat16", "float32"]:
    """bfloat16 on GPUs that have it and on CPUs that multiply matrices in it, float32 elsewhere."""
    fast = native_bfloat16(cuda) if cuda else bfloat16_matrices() is not None
    return "bfloat16" if fast else "float32"


def computing_in(precision: str, device: torch.device) -> torch.autocast:
    """Autocast of a forward where precision is bfloat16, else nothing.

    Of several processes each gathers a layer at a time, and casts that are kept for later would keep all layers.
    """
    half = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=half, cache_enabled=world_size() == 1)


def widened(features: torch.Tensor) -> torch.Tensor:
    """In float32 at least, as losses want it."""
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
