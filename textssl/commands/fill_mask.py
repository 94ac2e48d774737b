"""`textssl fill-mask`: what a masked model would put in the gaps of a text."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from rich.text import Text
from transformers import AutoModelForMaskedLM

from textssl.errors import UserError, printable
from textssl.inference.loading import (
    context_limit,
    find_model,
    is_sentence_model,
    language_model_kind,
    load_config,
    load_tokenizer,
    load_weights,
)
from textssl.models.configuration import prediction_offset
from textssl.system.terminal import Terminal

INSTEAD = {
    "causal": "it is a causal model, which continues texts: use `textssl generate`",
    "seq2seq": "it is an encoder-decoder",
}


@dataclass(frozen=True)
class Candidate:
    """A token for a gap, its probability, and the text with the token in the gap."""

    token: str
    probability: float
    text: str


def fill_mask(model: str | Path, text: str, top_k: int = 5) -> list[list[Candidate]]:
    """The likeliest tokens for each mask in the text: print them, and return them, masks in order, likeliest first.

    Each mask is filled by itself, while the others stay masked. model: a model folder, a run folder or a hub
    name, of a masked model. Raises UserError.
    """
    if top_k < 1:
        raise UserError(f"top_k is {top_k}; it must be at least 1")
    folder = find_model(model)
    kind = None if is_sentence_model(folder) else language_model_kind(load_config(folder))
    if kind != "masked":
        raise UserError(f"{folder} cannot fill gaps: {INSTEAD.get(str(kind), 'it has no language model head')}")
    tokenizer = load_tokenizer(folder)
    mask = str(tokenizer.mask_token)
    if tokenizer.mask_token_id is None:
        raise UserError(f"the tokenizer in {folder} has no mask token")
    if mask not in text:
        raise UserError(f"the text has no {mask}: write {mask} where the word is missing")
    weights: Any = load_weights(folder, AutoModelForMaskedLM)
    inputs = tokenizer(text, return_tensors="pt", verbose=False).to(weights.device)
    ids = inputs["input_ids"]
    limit = context_limit(weights.config, tokenizer)
    if limit is not None and ids.shape[1] > limit:
        raise UserError(f"the text has {ids.shape[1]} tokens, but the model reads {limit}: shorten it")
    places = torch.eq(ids[0], int(tokenizer.mask_token_id)).nonzero().flatten()  # type: ignore[arg-type]
    places = places - prediction_offset(weights.config)
    if (places < 0).any():
        raise UserError(f"{folder} predicts a token at the place before it, and nothing stands before the first {mask}")
    with torch.inference_mode():
        logits = weights(input_ids=ids, attention_mask=inputs["attention_mask"]).logits[0, places]
    best = logits.float().softmax(-1).topk(min(top_k, logits.shape[-1]))
    filled = []
    for number, (probabilities, tokens) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
        words = [str(tokenizer.decode([token])).strip() for token in tokens]
        filled.append(
            [
                Candidate(word, p, replace_nth(text, mask, word, number))
                for word, p in zip(words, probabilities, strict=True)
            ]
        )
    show_candidates(filled)
    return filled


def replace_nth(text: str, mask: str, word: str, number: int) -> str:
    """The text with the mask of this number, counted from 0, replaced by the word."""
    parts = text.split(mask)
    return mask.join(parts[: number + 1]) + word + mask.join(parts[number + 1 :])


def show_candidates(filled: list[list[Candidate]]) -> None:
    """One table a mask."""
    console = Terminal()
    for number, candidates in enumerate(filled, start=1):
        title = f"gap {number}" if len(filled) > 1 else None
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("probability", justify="right")
        table.add_column("token")
        table.add_column("text")
        for candidate in candidates:
            table.add_row(
                f"{candidate.probability:.3f}",
                Text(printable(candidate.token), style="bold"),
                Text(printable(candidate.text)),
            )
        console.print(table)
