"""Variable-length attention of torch itself: pieces of one long sequence, isolated by where each begins.

On a GPU these are flash attention's kernels, without another package and without a mask; elsewhere the same is computed
piece by piece, for tests. transformers finds the function by its name once `register` has run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from textssl.models.attention.dense import for_every_head

VARLEN = "varlen"  # the name of the implementation, for model.attention
LARGEST_HEAD = 256  # widths of a head that flash attention has kernels for: multiples of 8 up to here
COMPUTE_CAPABILITY = (8, 0)  # of the GPU, at least (Ampere)
TOLERANCE = 0.05  # relative error of the trial; bfloat16 gives about 0.01


def register() -> None:
    """Make `attn_implementation="varlen"` known to transformers."""
    ALL_ATTENTION_FUNCTIONS.register(VARLEN, varlen_attention)


def varlen_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention inside each piece of one flattened row, in the form that transformers calls.

    query: (1, heads, tokens, width of a head); key, value: the same, or fewer heads. cu_seq_lens_q: (pieces + 1,) int32
    starts and the end. max_length_q: no piece is longer. sliding_window: how far a token sees, itself counted. Returns
    (1, tokens, heads, width). Raises RuntimeError for padded texts, which it would mix up silently.
    """
    if cu_seq_lens_q is None or max_length_q is None:
        raise RuntimeError("model.attention=varlen reads packed rows alone: use sdpa for padded texts")
    assert attention_mask is None and not dropout and not options.get("softcap")
    causal = module.is_causal if is_causal is None else is_causal
    key, value = (for_every_head(query.shape[1], part) for part in (key, value))
    reach = -1 if sliding_window is None else sliding_window - 1
    window = (reach, 0 if causal else reach)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    compute = kernel if query.is_cuda else piecewise
    query, key, value = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))  # (tokens, heads, width)
    return compute(query, key, value, cu_seq_lens_q, max_length_q, scale, window).unsqueeze(0), None


def kernel(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, scale: float, window: tuple[int, int]
) -> Tensor:
    """(tokens, heads, width) by torch's kernels, in half precision. window: tokens to the left and right; -1: all."""
    from torch.nn.attention.varlen import varlen_attn  # there are builds of torch without it

    if query.dtype == torch.float32 and torch.is_autocast_enabled("cuda"):
        narrow = torch.get_autocast_dtype("cuda")  # rotary positions widen what the linear layers gave
        query, key, value = query.to(narrow), key.to(narrow), value.to(narrow)
    parts = (part if part.stride(-1) == 1 else part.contiguous() for part in (query, key, value))
    return varlen_attn(*parts, starts, starts, longest, longest, scale=scale, window_size=window)  # type: ignore[return-value]


def piecewise(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, longest: int, scale: float, window: tuple[int, int]
) -> Tensor:
    """The same, one piece after another."""
    pieces = []
    for start, stop in pairwise(starts.tolist()):
        if start == stop:
            continue
        place = torch.arange(stop - start, device=query.device)
        behind = place[:, None] - place[None, :]  # how far the key lies to the left of the query
        left, right = ((stop - start if side < 0 else side) for side in window)
        seen = (behind <= left) & (-behind <= right)
        parts = (tensor[start:stop].transpose(0, 1) for tensor in (query, key, value))  # (heads, tokens, width)
        pieces.append(F.scaled_dot_product_attention(*parts, attn_mask=seen, scale=scale).transpose(0, 1))
    return torch.cat(pieces) if pieces else query


def unsuited(config: Any, device: torch.device, precision: str) -> str | None:
    """Why these kernels cannot train a model of this configuration on a GPU, in a few words; None where they can."""
    if precision != "bfloat16":
        return f"its kernels are for bfloat16, and the run's precision is {precision}"
    if torch.cuda.get_device_capability(device) < COMPUTE_CAPABILITY:
        return "the GPU is older than compute capability 8.0"
    if attention_dropout(config):
        return "the model drops attention weights out, which its kernels do not"
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if width % 8 or width > LARGEST_HEAD:
        return f"it has no kernels for heads of width {width}"
    return failed_trial(device, width)


def failed_trial(device: torch.device, width: int) -> str | None:
    """What is wrong with the kernels on a trial of three pieces, forward and backward; None where they are right."""
    generator = torch.Generator().manual_seed(0)
    starts = torch.tensor([0, 5, 6, 32], dtype=torch.int32)
    parts = torch.randn(3, 32, 2, width, generator=generator).requires_grad_()  # query, key, value
    on_gpu = parts.detach().to(device, torch.bfloat16).requires_grad_()
    expected = piecewise(parts[0], parts[1], parts[2], starts, 32, width**-0.5, (3, 3))
    expected.square().sum().backward()
    try:
        found = kernel(on_gpu[0], on_gpu[1], on_gpu[2], starts.to(device), 32, width**-0.5, (3, 3))
        found.square().sum().backward()
    except (ImportError, RuntimeError, TypeError) as error:
        return f"torch {torch.__version__} cannot run it here: {' '.join(str(error).split())[:200]}"
    assert parts.grad is not None and on_gpu.grad is not None
    pairs = ((expected.detach(), found.detach()), (parts.grad, on_gpu.grad))
    off = max(float((one - other.float().cpu()).norm() / one.norm()) for one, other in pairs)
    return None if off < TOLERANCE else f"torch {torch.__version__} computes it wrongly here, off by {off:.0%}"


def attention_dropout(config: Any) -> float:
    """The rate at which a configuration drops attention weights out."""
    names = ("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop")
    rates = [rate for name in names if isinstance(rate := getattr(config, name, None), float)]
    return max(rates, default=0.0)
