"""Softmax, cross entropy and its gradient over a row of logits in one Triton kernel, in place, for GPUs.

torch makes them in six kernels that read and write every logit eleven times; this reads it twice, the second time out
of the cache, and writes it once. Import it where Triton is, which comes with torch's builds for GPUs.
"""

from __future__ import annotations

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from torch import Tensor

BLOCK = 4096  # logits of a row at a time
WARPS = 8
LOWEST = tl.constexpr(-3e38)  # below every logit, and finite: the difference of two infinities is no number


def softmax_errors_(logits: Tensor, labels: Tensor, weights: Tensor | None, *, errors: bool) -> Tensor:
    """Each row's weighted cross entropy in nats, (rows,) float32; with `errors`, its gradient takes the logits' place.

    logits: (rows, classes) on a GPU, contiguous, of any type up to float32; computed in float32. labels: (rows,) int64.
    weights: (rows,) float32, or None for 1.
    """
    assert logits.is_contiguous() and logits.dtype != torch.float64
    losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
    given = losses if weights is None else weights.contiguous()  # without weights nothing is read there
    if len(logits):
        _kernel[(len(logits),)](  # pyright: ignore[reportIndexIssue]
            *(logits, labels.contiguous(), given, losses, logits.shape[1]),
            WEIGHTED=weights is not None,
            ERRORS=errors,
            BLOCK=BLOCK,
            num_warps=WARPS,
        )
    return losses


@triton.jit
def _kernel(
    logits,
    labels,
    weights,
    losses,
    classes,
    WEIGHTED: tl.constexpr,
    ERRORS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One row. Its label's logit is read before the reductions, where all threads meet, since others overwrite it."""
    row = tl.program_id(0)
    logits += row.to(tl.int64) * classes
    label = tl.load(labels + row)
    wanted = tl.load(logits + label).to(tl.float32)
    weight = tl.load(weights + row) if WEIGHTED else 1.0
    places = tl.arange(0, BLOCK)
    tops = tl.full((BLOCK,), LOWEST, tl.float32)  # the largest logit that each lane has met
    sums = tl.zeros((BLOCK,), tl.float32)  # of exp(logit - top)
    for start in range(0, classes, BLOCK):
        inside = start + places < classes
        found = tl.load(logits + start + places, mask=inside, other=LOWEST).to(tl.float32)
        higher = tl.maximum(tops, found)
        sums = sums * tl.exp(tops - higher) + tl.where(inside, tl.exp(found - higher), 0.0)
        tops = higher
    top = tl.max(tops, 0)
    normaliser = top + tl.log(tl.sum(sums * tl.exp(tops - top), 0))
    tl.store(losses + row, (normaliser - wanted) * weight)
    if ERRORS:
        for start in range(0, classes, BLOCK):
            inside = start + places < classes
            found = tl.load(logits + start + places, mask=inside, other=LOWEST).to(tl.float32)
            error = tl.exp(found - normaliser) - tl.where(start + places == label, 1.0, 0.0)
            tl.store(logits + start + places, (error * weight).to(logits.dtype.element_ty), mask=inside)
