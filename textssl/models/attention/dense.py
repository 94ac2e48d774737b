"""Attention by matrix products whose scores stay in their type: for bfloat16 on CPUs.

There, transformers' own eager attention widens scores and mask to float32, keeps the probabilities so for the backward,
and narrows them again. transformers finds the function by its name once `register` has run.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from textssl.system.hardware import product_type

DENSE = "dense"  # the name of the implementation, for model.attention


def register() -> None:
    """Make `attn_implementation="dense"` known to transformers, with the masks of eager attention."""
    ALL_ATTENTION_FUNCTIONS.register(DENSE, dense_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(DENSE, eager_mask)


def dense_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """softmax(scaling query key' + mask) value, in the form that transformers calls.

    query: (rows, heads, tokens, width of a head); key, value: the same, or fewer heads. attention_mask: added to the
    scores, (rows or 1, 1, tokens, tokens). The products are in autocast's type, or that of the query, and so are scores
    and probabilities; the softmax computes in float32. Returns (rows, tokens, heads, width).
    """
    assert not options.get("softcap") and (attention_mask is None or attention_mask.is_floating_point())
    product = product_type(query.dtype, query.device.type)
    rows, heads, tokens, width = query.shape
    key, value = (for_every_head(heads, part) for part in (key, value))
    scale = width**-0.5 if scaling is None else scaling
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = (part.to(product).flatten(0, 1) for part in (query, key, value))
        if attention_mask is None:
            scores = torch.bmm(query, key.transpose(1, 2)) * scale
        else:
            mask = narrowed(attention_mask, product).expand(rows, heads, -1, -1).flatten(0, 1)
            scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scale)
        shares = F.dropout(scores.softmax(-1), dropout, module.training)
        mixed = torch.bmm(shares, value)
    return mixed.view(rows, heads, tokens, width).transpose(1, 2).contiguous(), None


def for_every_head(heads: int, part: Tensor) -> Tensor:
    """(rows, heads, tokens, width) of keys or values that several heads of the query may share."""
    groups = heads // part.shape[1]
    return part.repeat_interleave(groups, 1) if groups > 1 else part


def narrowed(mask: Tensor, kind: torch.dtype) -> Tensor:
    """The mask in another type, finite: a row of minus infinity alone has no softmax."""
    return mask if mask.dtype == kind else mask.clamp(min=torch.finfo(kind).min).to(kind)
