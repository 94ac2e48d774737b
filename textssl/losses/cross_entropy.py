"""Cross entropy over a vocabulary, chunk by chunk, and tokens drawn from logits."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from textssl.sample_types import IGNORE
from textssl.system.hardware import product_type

CHUNK_LOGITS = {"cpu": 2**22, "cuda": 2**26}  # logits of one chunk: 16 MB in float32, which caches hold, and 256 MB
FUSED_BYTES = 2**29  # of the logits of one chunk where one kernel makes its errors in their place: 512 MB
CHUNK_TOKENS = 256  # but at least this many tokens, for the matrix products to be efficient


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    chunk: int | None = None,
    token_weights: Tensor | None = None,
) -> Tensor:
    """Cross entropy of softmax(hidden weight' + bias) at the labels: the SUM over tokens, in nats.

    hidden: (tokens, width). weight: (vocabulary, width). bias: (vocabulary,) or None. labels: (tokens,) int64, each a
    token (select the predicted ones before). chunk: tokens at a time; None chooses. token_weights: (tokens,), by which
    each token's part of the sum is multiplied; no gradient reaches them.
    Returns a scalar in float32 (float64 for float64 input); no tokens give 0 with a graph.

    The (tokens, vocabulary) logits never exist whole: a chunk's gradients are taken in the forward, while its
    probabilities are at hand, and the backward only scales them. Under autocast the products run in its type, the
    softmax and all sums in float32. On GPUs one kernel makes a chunk's loss and errors (softmax_kernel.py).

    Against torch, forward and backward in float32 at width 256 on two idle CPU cores, least of alternating repeats;
    peak memory above the start (scripts/benchmark/heads.py --tokens 4096, and --tokens 1200):

                                          1,200 x 8,192             4,096 x 8,192
        F.cross_entropy(F.linear())          136 ms, 119 MB            458 ms, 391 MB
        F.linear_cross_entropy, options()    132 ms, 103 MB            377 ms, 109 MB
        the same, batch_chunk_size=512        99 ms, 118 MB            325 ms, 115 MB
        this function                         95 ms,  32 MB            308 ms,  42 MB
        the three matrix products alone       92 ms                    316 ms

    torch's chunked function is nearly as fast with the right chunk, but gives the sum in bfloat16 for bfloat16 input
    and allows one backward.
    """
    product = product_type(hidden.dtype, hidden.device.type)
    wanted = [torch.is_grad_enabled() and x is not None and x.requires_grad for x in (hidden, weight, bias)]
    return _LinearCrossEntropy.apply(hidden, weight, bias, labels, token_weights, chunk, product, wanted)  # type: ignore[no-any-return]


def chunk_tokens(tokens: int, vocabulary: int, chunk: int | None = None, device: str = "cpu") -> int:
    """Tokens of one chunk, such that all chunks are nearly equal. device: its type; a GPU needs larger ones."""
    limit = chunk or max(CHUNK_TOKENS, CHUNK_LOGITS.get(device, CHUNK_LOGITS["cpu"]) // vocabulary)
    pieces = max(1, -(-tokens // limit))
    return max(1, -(-tokens // pieces))


@cache
def has_triton() -> bool:
    """Whether Triton is installed, which torch's builds for GPUs bring."""
    return find_spec("triton") is not None


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward; the softmax is float32 (float64 for float64 input)."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, labels, token_weights, chunk, product, wanted):
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        gradients = [
            torch.zeros(x.shape, dtype=exact, device=x.device) if want else None
            for x, want in zip((hidden, weight, bias), wanted, strict=True)
        ]
        ctx.save_for_backward(*gradients)
        ctx.types = [None if x is None else x.dtype for x in (hidden, weight, bias)]
        total = torch.zeros((), dtype=exact, device=hidden.device)
        fused = hidden.is_cuda and exact == torch.float32 and has_triton()
        if fused and chunk is None:
            chunk = max(CHUNK_TOKENS, FUSED_BYTES // (len(weight) * product.itemsize))
        with torch.autocast(hidden.device.type, enabled=False):
            operands = hidden.to(product), weight.to(product), None if bias is None else bias.to(product)
            step = chunk_tokens(len(labels), len(weight), chunk, hidden.device.type)
            kind = product if fused else exact
            scores = torch.empty(step, len(weight), dtype=kind, device=hidden.device)  # of every chunk in turn
            for start in range(0, len(labels), step):
                piece = slice(start, start + step)
                shares = None if token_weights is None else token_weights[piece].to(exact)
                total += _add_chunk(
                    *(operands, labels[piece], shares, piece, gradients, scores[: len(labels) - start]), fused=fused
                )
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        scaled = [
            None if gradient is None else (gradient * grad).to(kind)
            for gradient, kind in zip(ctx.saved_tensors, ctx.types, strict=True)
        ]
        return (*scaled, None, None, None, None, None)


def _add_chunk(
    operands, labels: Tensor, shares: Tensor | None, piece: slice, gradients, scores: Tensor, *, fused: bool
) -> Tensor:
    """The loss of one chunk; its gradients, for a loss gradient of 1, are added in place.

    shares: (tokens of the chunk,) the weight of each, or None for 1. scores: (tokens of the chunk, vocabulary),
    overwritten, in the softmax's type. fused: by the kernel, and scores are in the type of the products.
    """
    hidden, weight, bias = operands[0][piece], operands[1], operands[2]
    same = scores.dtype == hidden.dtype
    logits = scores if same else hidden.new_empty(scores.shape)
    if bias is None:
        torch.mm(hidden, weight.t(), out=logits)
    else:
        torch.addmm(bias, hidden, weight.t(), out=logits)
    wanted = any(gradient is not None for gradient in gradients)
    if fused:
        from textssl.losses.softmax_kernel import softmax_errors_  # needs Triton

        loss, error = softmax_errors_(logits, labels, shares, errors=wanted).sum(), logits
    else:
        loss, error = _softmax_errors(logits, scores, labels, shares, errors=wanted)
    if gradients[2] is not None:
        gradients[2] += error.sum(0, dtype=gradients[2].dtype)
    low = error if same or not wanted else logits.copy_(error)
    if gradients[0] is not None:
        gradients[0][piece] = low @ weight
    if gradients[1] is not None and low.dtype == gradients[1].dtype:
        gradients[1].addmm_(low.t(), hidden)
    elif gradients[1] is not None:
        gradients[1] += low.t() @ hidden
    return loss


def _softmax_errors(
    logits: Tensor, scores: Tensor, labels: Tensor, shares: Tensor | None, *, errors: bool
) -> tuple[Tensor, Tensor]:
    """(the loss of a chunk, its gradient with respect to the logits in place of `scores`), by torch's operations.

    One exponential for each logit: the logarithm of the sum is that which the most probable token's logit and
    probability imply, and is exact however improbable the label is.
    """
    scores.copy_(logits)
    place = torch.arange(len(labels), device=labels.device)
    highest, picked = scores.amax(1), scores[place, labels]
    torch.softmax(scores, 1, out=scores)
    losses = highest - picked - scores.amax(1).log()
    loss = (losses if shares is None else losses * shares).sum()
    if errors:
        scores[place, labels] -= 1
        if shares is not None:
            scores *= shares.unsqueeze(1)
    return loss, scores


def draw_tokens(logits: Tensor, uniform: Tensor) -> Tensor:
    """Tokens drawn from softmax(logits) by inverting its cumulative distribution, in float32: (items,) int64.

    logits: (items, vocabulary). uniform: (items,) in (0, 1], one for each draw, so that it is the same whatever else is
    in the batch.
    """
    cumulative = torch.softmax(logits.float(), dim=1).cumsum(1)
    target = uniform.float().unsqueeze(1) * cumulative[:, -1:]  # the last is 1 but for rounding
    return torch.searchsorted(cumulative, target).squeeze(1)


def mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows that have a target, in nats; 0 where none has. targets: (rows,) classes, or IGNORE."""
    total = F.cross_entropy(logits, targets, reduction="sum", ignore_index=IGNORE)
    return total / (targets != IGNORE).sum().clamp(min=1)
