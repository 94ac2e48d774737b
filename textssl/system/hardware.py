"""The formats that processor and GPU compute fast in, by the features that they report, never by timings."""

from __future__ import annotations

import torch
from torch import Tensor

# Processor features, as torch names them.
MATRIX_BFLOAT16 = ("amx_bf16", "avx512_bf16")  # training was measured to be faster with them
NATIVE_BFLOAT16 = (*MATRIX_BFLOAT16, "bf16", "sve_bf16")
EMULATED = "bfloat16 is emulated on this device, 50 to 100 times slower: use float32"
DENSE_BELOW = 1024  # tokens in a row; in bfloat16 on CPUs dense attention is faster than sdpa for shorter ones
EAGER_BELOW = 512  # the same of transformers' own eager attention


def product_type(kind: torch.dtype, device: str) -> torch.dtype:
    """In which matrices of a type are multiplied: autocast's where it is on for this type of device; float64 stays."""
    autocast = torch.is_autocast_enabled(device) and kind != torch.float64
    return torch.get_autocast_dtype(device) if autocast else kind


def bfloat16_feature() -> str | None:
    """The processor feature for bfloat16, or None; emulated bfloat16 is 50 to 100 times slower than float32."""
    return first_of(NATIVE_BFLOAT16)


def bfloat16_matrices() -> str | None:
    """The processor feature that multiplies matrices in bfloat16 faster than in float32, or None.

    With Intel's AMX, and with AVX512-BF16 (AMD since Zen 4, Intel's Cooper Lake), training is faster in bfloat16.
    """
    return first_of(MATRIX_BFLOAT16)


def first_of(features: tuple[str, ...]) -> str | None:
    """The first of these features that the processor reports."""
    abilities = torch.cpu.get_capabilities()
    return next((name for name in features if abilities.get(name)), None)


def native_bfloat16(cuda: bool) -> bool:
    """Whether bfloat16 arithmetic is native on the GPU, or on the processor."""
    return torch.cuda.is_bf16_supported(including_emulation=False) if cuda else bfloat16_feature() is not None


def host_waits(tensor: Tensor) -> bool:
    """Whether reading a value off a tensor makes the host wait for the work that a device still has to do."""
    return tensor.is_cuda
