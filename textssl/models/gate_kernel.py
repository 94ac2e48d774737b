"""The gated linear unit of ModernBERT, gelu(left half) * right half, and its gradient, each in one Triton kernel.

torch.compile writes both halves of the gradient in one kernel over all columns, which computes the gradients of both
halves in each: twice the error functions and exponentials, for which a GPU needs longer than for reading and writing.
This module can be imported only where Triton is installed, which comes with torch's builds for GPUs.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
import torch.nn.functional as F
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

BLOCK = 1024  # numbers at a time
WARPS = 4
TOLERANCE = 1e-4  # relative error of the trial, in float32; 1e-7 is what it gives


@torch.library.custom_op("textssl::gated_gelu", mutates_args=())
def gated_gelu(halves: Tensor) -> Tensor:
    """(..., 2 width) -> (..., width): gelu of the left half, times the right one; computed in float32."""
    halves = halves.contiguous()
    gated = halves.new_empty(*halves.shape[:-1], halves.shape[-1] // 2)
    launch(_gated_gelu_kernel, gated, halves, gated)
    return gated


@torch.library.custom_op("textssl::gated_gelu_backward", mutates_args=())
def gated_gelu_backward(gradient: Tensor, halves: Tensor) -> Tensor:
    """The gradient with respect to the halves, from that with respect to the gated: (..., width) -> (..., 2 width)."""
    gradient, halves = gradient.contiguous(), halves.contiguous()
    gradients = torch.empty_like(halves)
    launch(_gated_gelu_backward_kernel, gradient, gradient, halves, gradients)
    return gradients


@functools.cache
def failed_trial(device: str) -> str | None:
    """What is wrong with the kernels on a device, forward and backward; None where they are right."""
    try:
        apart = distance(torch.device(device))
    except Exception as error:  # of a compiler that does not know the card, of a driver
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None if apart <= TOLERANCE else f"numbers that are {apart:.1e} apart"


def distance(device: torch.device) -> float:
    """How far values and gradients are from those of the formula in float64, relative to the largest."""
    halves = torch.linspace(-4, 4, 3 * 2 * 700, dtype=torch.float64, device=device).view(3, -1).requires_grad_()
    given = halves.detach().float().requires_grad_()
    value, gate = halves.chunk(2, dim=-1)
    found, expected = gated_gelu(given), F.gelu(value) * gate
    for result in (found, expected):
        result.square().sum().backward()
    assert given.grad is not None and halves.grad is not None
    pairs = (found.detach(), expected.detach()), (given.grad, halves.grad)
    return max(float((one - other).abs().max() / other.abs().max()) for one, other in pairs)


def launch(kernel: Any, gated: Tensor, *tensors: Tensor) -> None:
    """One program for each block of the gated numbers."""
    if gated.numel():
        blocks = triton.cdiv(gated.numel(), BLOCK)
        kernel[(blocks,)](*tensors, gated.numel(), WIDTH=gated.shape[-1], BLOCK=BLOCK, num_warps=WARPS)


def _keep(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx, gradient: Tensor) -> Tensor:
    return gated_gelu_backward(gradient, *ctx.saved_tensors)


gated_gelu.register_fake(lambda halves: halves.new_empty(*halves.shape[:-1], halves.shape[-1] // 2))
gated_gelu_backward.register_fake(
    lambda gradient, halves: torch.empty_like(halves, memory_format=torch.contiguous_format)
)
gated_gelu.register_autograd(_differentiate, setup_context=_keep)


@triton.jit
def _places(numbers, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """Where a block begins, among the gated numbers and among the halves; how far behind these its numbers lie, of the
    left half; which exist. 64 bits are for the beginnings alone."""
    start = tl.program_id(0).to(tl.int64) * BLOCK
    behind = tl.arange(0, BLOCK)
    column = (start % WIDTH).to(tl.int32) + behind
    left = column // WIDTH * (2 * WIDTH) + column % WIDTH
    return start, start // WIDTH * (2 * WIDTH), behind, left, start + behind < numbers


@triton.jit
def _gated_gelu_kernel(halves, gated, numbers, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    start, row, behind, left, inside = _places(numbers, WIDTH, BLOCK)
    value = tl.load(halves + row + left, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(halves + row + WIDTH + left, mask=inside, other=0.0).to(tl.float32)
    below = 0.5 + 0.5 * tl.erf(value * 0.7071067811865476)  # the share of a normal distribution below the value
    tl.store(gated + start + behind, (value * below * gate).to(gated.dtype.element_ty), mask=inside)


@triton.jit
def _gated_gelu_backward_kernel(gradient, halves, gradients, numbers, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    start, row, behind, left, inside = _places(numbers, WIDTH, BLOCK)
    value = tl.load(halves + row + left, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(halves + row + WIDTH + left, mask=inside, other=0.0).to(tl.float32)
    slope = tl.load(gradient + start + behind, mask=inside, other=0.0).to(tl.float32)
    below = 0.5 + 0.5 * tl.erf(value * 0.7071067811865476)
    density = 0.3989422804014327 * tl.exp(-0.5 * value * value)
    kind = gradients.dtype.element_ty
    tl.store(gradients + row + left, (slope * gate * (below + value * density)).to(kind), mask=inside)
    tl.store(gradients + row + WIDTH + left, (slope * value * below).to(kind), mask=inside)
