"""Packed rows in, isolated documents: masks, positions and flash-attention lengths for each model family.

A token sees the tokens of its own document alone, at the positions they have there, so a document in a packed row
gives the outputs that it gives alone. How a backbone is told so depends on its family and on the attention
implementation; there are three layouts:

packed    rows stay rows; a mask isolates, (rows, 1, length, length) under sdpa, eager and dense, of blocks under
          flex_attention. Families in MASKING.
flat      all rows form one sequence with cumulative document lengths. flash_attention and varlen, families in MASKING.
separate  every document is a row of its own under an ordinary padding mask. All others: slower, never wrong.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from transformers import PreTrainedModel

from textssl.batch import Rows
from textssl.models.attention.dense import DENSE
from textssl.models.attention.varlen import VARLEN
from textssl.system.hardware import product_type


class Masking(NamedTuple):
    """How a family takes its mask.

    causal: a token sees only tokens before it (encoders: unless the configuration says is_decoder).
    window: "none"; "all": config.sliding_window, where set, holds in every layer; "layers": a mask for each of
        config.layer_types.
    offset: positions start behind the padding id, as in RoBERTa.
    """

    causal: bool = False
    window: Literal["none", "all", "layers"] = "none"
    offset: bool = False


ENCODER, ROBERTA = Masking(), Masking(offset=True)
DECODER, WINDOWED = Masking(causal=True), Masking(causal=True, window="all")
LAYERED = Masking(causal=True, window="layers")

MASKED = ("sdpa", "eager", DENSE, "flex_attention")  # implementations that take masks

MASKING = {
    **dict.fromkeys(("albert", "bert", "distilbert", "electra"), ENCODER),
    **dict.fromkeys(("camembert", "roberta", "xlm-roberta"), ROBERTA),
    "modernbert": Masking(window="layers"),
    **dict.fromkeys(("gemma", "gpt2", "gpt_neox", "llama", "olmo2"), DECODER),
    **dict.fromkeys(("mistral", "phi3", "starcoder2"), WINDOWED),
    **dict.fromkeys(("modernbert-decoder", "qwen2", "qwen3", "smollm3"), LAYERED),
}


def layout(model: PreTrainedModel) -> Literal["packed", "flat", "separate"]:
    """How rows reach the backbone, from its family and its attention implementation."""
    implementation = model.config._attn_implementation or "eager"
    if model.config.model_type not in MASKING:
        return "separate"
    if implementation in MASKED:
        return "packed"
    return "flat" if implementation == VARLEN or implementation.startswith("flash_attention") else "separate"


def isolate(model: PreTrainedModel, batch: Rows, *, causal: bool | None = None) -> dict[str, Any]:
    """Keyword arguments of the backbone's forward for packed rows, documents isolated (ids included).

    model: a transformers model; its config names family and attention implementation.
    causal: None keeps the family's own direction; True or False sets it, in the packed layout alone.
    Built once a batch. `restore` brings the output back to (rows, length, ...). Raises ValueError for another direction
    than the family's own in the flat layout or the separate one.
    """
    kind = layout(model)
    if kind != "packed":
        if causal is not None and causal != own_direction(model.config):
            raise ValueError(
                f"the direction of {model.config.model_type} is set by a mask, which "
                f"{model.config._attn_implementation} attention does not have: take sdpa"
            )
        return flat_arguments(model.config, batch) if kind == "flat" else separate_arguments(model.config, batch)
    return {
        "input_ids": batch.ids,
        "attention_mask": packed_mask(model, batch, own_direction(model.config) if causal is None else causal),
        "position_ids": positions(model.config, batch),
    }


def restore(model: PreTrainedModel, hidden: Tensor, batch: Rows) -> Tensor:
    """The output of a backbone that was called with `isolate`, as (rows, length, width)."""
    kind = layout(model)
    if kind == "packed":
        return hidden
    if kind == "flat":
        return hidden.reshape(*batch.ids.shape, hidden.shape[-1])
    place, document, offset = separate_places(batch)
    restored = hidden.new_zeros(batch.ids.numel(), hidden.shape[-1])
    return restored.index_put((place,), hidden[document, offset]).view(*batch.ids.shape, hidden.shape[-1])


def own_direction(config) -> bool:
    """Whether a family of MASKING is causal under this configuration."""
    masking = MASKING.get(config.model_type, ENCODER)
    return masking.causal or bool(getattr(config, "is_decoder", False))


def positions(config, batch: Rows) -> Tensor:
    """(rows, length) int64 position ids, counted as the family counts them."""
    return batch.positions + config.pad_token_id + 1 if MASKING[config.model_type].offset else batch.positions


# ---- packed: a mask for rows as they are


def packed_mask(model: PreTrainedModel, batch: Rows, causal: bool) -> Any:
    """What the family takes as attention_mask: one mask, or one for each kind of layer; None where none is needed.

    Masks are boolean under sdpa, True where a query may look, additive (0 or the lowest number) under eager and dense,
    and BlockMasks under flex attention. None needs rows of one whole document each; a causal model then relies on
    is_causal, the fastest kernels.
    """
    config, masking = model.config, MASKING[model.config.model_type]
    window = None if masking.window == "none" else getattr(config, "sliding_window", None)
    if window is not None and batch.ids.shape[1] <= window:
        window = None
    make = block_mask if config._attn_implementation == "flex_attention" else dense_mask
    full = make(model, batch, causal, None)
    windowed = full if window is None else make(model, batch, causal, window)
    if masking.window == "layers":
        kinds = {"full_attention": full, "sliding_attention": windowed}
        return {kind: kinds[kind] for kind in sorted(set(config.layer_types))}
    return windowed if masking.window == "all" else full


def dense_mask(model: PreTrainedModel, batch: Rows, causal: bool, window: int | None) -> Tensor | None:
    """The mask of sdpa, eager and dense attention, (rows or 1, 1, length, length); window: None for the document."""
    config = model.config
    sdpa = config._attn_implementation == "sdpa"
    whole = batch.facts.whole and causal == own_direction(config) and (sdpa or not causal)
    if whole and window is None:
        return None
    if whole:
        length = batch.ids.shape[1]
        seen = torch.ones(1, 1, length, length, dtype=torch.bool, device=batch.ids.device)
        seen = seen.tril() if causal else seen
    else:
        seen = document_mask(batch.documents, causal)
    if window is not None:
        counts_itself = causal or MASKING[config.model_type].causal
        seen = seen & window_mask(batch.ids.shape[1], window, causal, counts_itself, batch.ids.device)
    return seen if sdpa else additive(seen, mask_type(model))


def mask_type(model: PreTrainedModel) -> torch.dtype:
    """Of an additive mask: that of the products, which dense attention keeps its scores in, or of the weights."""
    narrow = model.config._attn_implementation == DENSE
    return product_type(model.dtype, model.device.type) if narrow else model.dtype


def dense_mask_bytes(model: PreTrainedModel, rows: int, length: int) -> int:
    """Memory of the masks of one forward of packed rows; 0 where none are made dense."""
    config = model.config
    if layout(model) != "packed" or config._attn_implementation == "flex_attention":
        return 0
    window = getattr(config, "sliding_window", None) if MASKING[config.model_type].window != "none" else None
    masks = 2 if window is not None and length > window else 1
    width = 1 if config._attn_implementation == "sdpa" else model.dtype.itemsize
    return masks * rows * length**2 * width


def block_mask(model: PreTrainedModel, batch: Rows, causal: bool, window: int | None) -> BlockMask:
    """The same for flex attention, which skips blocks where nothing is seen and computes no scores for them."""
    documents, counts_itself = batch.documents, causal or MASKING[model.config.model_type].causal

    def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        inside = documents[row, query] == documents[row, key]
        if causal:
            inside = inside & (query >= key)
        if window is not None:
            distance = query - key if causal else (query - key).abs()
            inside = inside & (distance < window if counts_itself else distance <= window)
        return inside

    rows, length = batch.ids.shape
    on_gpu = documents.device.type == "cuda"  # there it is compiled once, and the dense mask never exists
    return create_block_mask(seen, rows, None, length, length, device=documents.device, _compile=on_gpu)


def document_mask(documents: Tensor, causal: bool) -> Tensor:
    """(rows, 1, length, length) bool: query and key belong to one document, and the key is not later if causal.

    Padding sees the padding of its row, so that no query is left without a key (a softmax over nothing is NaN).
    """
    same = documents.unsqueeze(2) == documents.unsqueeze(1)
    return (same.tril() if causal else same).unsqueeze(1)


def window_mask(length: int, window: int, causal: bool, counts_itself: bool, device: torch.device) -> Tensor:
    """(1, 1, length, length) bool: the key is near the query.

    Decoders count the token itself, distance < window (Mistral, ModernBertDecoder); ModernBERT does not, distance <=
    window to either side, where its config.sliding_window is half of local_attention.
    """
    place = torch.arange(length, device=device)
    distance = (place[:, None] - place[None, :]) if causal else (place[:, None] - place[None, :]).abs()
    return (distance < window if counts_itself else distance <= window)[None, None]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask that eager and dense attention add to their scores."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)


# ---- flat: cumulative lengths for flash attention


def flat_arguments(config, batch: Rows) -> dict[str, Any]:
    """Flash attention's arguments: (1, rows * length) ids and positions, cumulative lengths, a bound on the longest.

    A run of padding is a piece of its own: under 2 % of the tokens, and nothing has to be gathered or scattered. The
    bound is the length of a row, which no piece exceeds: the same in every step, so that nothing is compiled again.
    """
    starts, length = batch.facts.starts, batch.ids.shape[1]
    return {
        "input_ids": batch.ids.reshape(1, -1),
        "position_ids": positions(config, batch).reshape(1, -1),
        "attention_mask": None,
        "cu_seq_lens_q": starts,
        "cu_seq_lens_k": starts,
        "max_length_q": length,
        "max_length_k": length,
    }


# ---- separate: one document a row


def separate_places(batch: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """For each non-padding token: its place in the flattened rows, the number of its document, its place there."""
    starts = batch.facts.starts.long()
    lengths = starts.diff()
    kept = batch.documents.flatten()[starts[:-1]] > 0  # pieces that are documents
    document = (kept.cumsum(0) - 1).repeat_interleave(lengths)
    offset = torch.arange(batch.ids.numel(), device=starts.device) - starts[:-1].repeat_interleave(lengths)
    place = (batch.documents.flatten() > 0).nonzero().flatten()
    return place, document[place], offset[place]


def separate_arguments(config, batch: Rows) -> dict[str, Any]:
    """(documents, longest) ids and an ordinary padding mask, which every transformers model understands."""
    place, document, offset = separate_places(batch)
    if not len(place):  # rows of padding alone: one token stands in, so that every parameter has its gradient of zero
        return {"input_ids": batch.ids[:1, :1], "attention_mask": torch.ones_like(batch.ids[:1, :1])}
    shape = (int(document.max()) + 1, int(offset.max()) + 1)
    ids = batch.ids.new_full(shape, config.pad_token_id or 0)
    mask = batch.ids.new_zeros(shape)
    ids[document, offset] = batch.ids.flatten()[place]
    mask[document, offset] = 1
    return {"input_ids": ids, "attention_mask": mask}
