"""Packed rows for an encoder-decoder: a document sees itself alone, and its positions begin at 0, on both sides."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textssl.batch import Rows
from textssl.models.attention.isolation import additive


def seen(queries: Tensor, keys: Tensor, *, causal: bool = False) -> Tensor:
    """(rows, 1, queries, keys) bool: both belong to one document, and the key is not later if causal.

    queries, keys: (rows, length) int, document numbers. Padding sees everything, so that no query is left without a key
    (a softmax over nothing is NaN); nothing reads what comes of it.
    """
    same = queries.unsqueeze(2) == keys.unsqueeze(1)
    same = same.tril() if causal else same
    return (same | (queries == 0).unsqueeze(2)).unsqueeze(1)


def mask_of(model: Any, queries: Tensor, keys: Tensor, *, causal: bool = False) -> Tensor:
    """`seen` as the model's attention takes it: boolean for sdpa, additive for eager."""
    mask = seen(queries, keys, causal=causal)
    return mask if model.config._attn_implementation == "sdpa" else additive(mask, model.dtype)


def inputs_of(stack: Any, rows: Rows) -> dict[str, Tensor]:
    """Arguments of a stock encoder or decoder for the tokens of rows, at the positions that they have in documents.

    T5 knows distances alone, which packing does not change. BART adds the position in the row to each embedding and
    takes no others: the difference to the position in the document is added to the embeddings before.
    """
    table = getattr(stack, "embed_positions", None)
    if table is None:
        return {"input_ids": rows.ids}
    in_row = torch.arange(rows.ids.shape[1], device=rows.ids.device)
    wanted, added = (F.embedding(places + table.offset, table.weight) for places in (rows.positions, in_row))
    return {"inputs_embeds": stack.embed_tokens(rows.ids) + (wanted - added)}


def read(model: Any, source: Rows) -> Tensor:
    """Hidden states of the encoder, (rows, length, width)."""
    encoder = model.get_encoder()
    mask = mask_of(model, source.documents, source.documents)
    return encoder(**inputs_of(encoder, source), attention_mask=mask).last_hidden_state


def write(model: Any, target: Rows, source: Rows, encoded: Tensor) -> Tensor:
    """Hidden states of the decoder, (rows, target length, width). encoded: what `read` gave for the source."""
    decoder = model.get_decoder()
    return decoder(
        **inputs_of(decoder, target),
        attention_mask=mask_of(model, target.documents, target.documents, causal=True),
        encoder_hidden_states=encoded,
        encoder_attention_mask=mask_of(model, target.documents, source.documents),
        use_cache=False,
    ).last_hidden_state
