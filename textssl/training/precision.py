"""Which number format a device computes fast in."""

from __future__ import annotations

from typing import Literal

import torch

NATIVE_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # processor features, as torch names them


def native_bfloat16(cuda: bool) -> bool:
    """Whether bfloat16 arithmetic is native; emulated on a CPU it is 50 to 100 times slower than float32."""
    if cuda:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = torch.cpu.get_capabilities()
    return any(abilities.get(name) for name in NATIVE_BFLOAT16)


def choose_precision(cuda: bool) -> Literal["bfloat16", "float32"]:
    """bfloat16 on GPUs that have it, float32 elsewhere; CPUs that have it too must be asked to use it."""
    return "bfloat16" if cuda and native_bfloat16(cuda) else "float32"


def widened(features: torch.Tensor) -> torch.Tensor:
    """In float32 at least, as losses want it."""
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features
