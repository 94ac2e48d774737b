"""The formats that processor and GPU compute fast in, by the features that they report, never by timings."""

from __future__ import annotations

import torch

NATIVE_BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")  # processor features, as torch names them


def bfloat16_feature() -> str | None:
    """The processor feature for bfloat16, or None; emulated bfloat16 is 50 to 100 times slower than float32."""
    abilities = torch.cpu.get_capabilities()
    return next((name for name in NATIVE_BFLOAT16 if abilities.get(name)), None)


def bfloat16_matrices() -> bool:
    """Whether the processor multiplies matrices in bfloat16 several times faster than in float32 (Intel's AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def native_bfloat16(cuda: bool) -> bool:
    """Whether bfloat16 arithmetic is native on the GPU, or on the processor."""
    return torch.cuda.is_bf16_supported(including_emulation=False) if cuda else bfloat16_feature() is not None
