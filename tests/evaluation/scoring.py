"""The log-probability of a sentence by a plain loop over the stock model, one token and one row at a time."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch

from tests.evaluation import folders
from tests.tiny import tiny_tokenizer
from textssl.inference.language.scorer import Scorer, live_scorer
from textssl.tokenizer import for_causal, word_starts


@functools.cache
def model(family: str) -> Any:
    """A tiny model whose answers depend on what it reads: with the usual small weights, hardly any would."""
    sharp = copy.deepcopy(folders.model(family))
    with torch.no_grad():
        for parameter in sharp.parameters():
            parameter.mul_(8 if parameter.ndim > 1 else 1)
    return sharp


def tokenizer_of(family: str) -> Any:
    return for_causal(tiny_tokenizer()) if family in ("llama", "gpt2") else tiny_tokenizer()


def scorer_of(family: str) -> Scorer:
    return live_scorer("causal" if family in ("llama", "gpt2") else "masked", model(family), tokenizer_of(family))


def causal_log_probability(family: str, text: str) -> float:
    ids = tokenizer_of(family)(text)["input_ids"]  # the start token first
    total = 0.0
    for place in range(1, len(ids)):
        with torch.no_grad():
            logits = model(family)(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
        total += float(logits.log_softmax(-1)[ids[place]])
    return total


def pseudo_log_probability(family: str, text: str, hide_rest: bool) -> float:
    tokenizer = tokenizer_of(family)
    ids, starts = tokenizer(text)["input_ids"], word_starts(tokenizer.backend_tokenizer, text)  # [CLS] ... [SEP]
    total = 0.0
    for place in range(1, len(ids) - 1):
        hidden = list(ids)
        hidden[place] = tokenizer.mask_token_id
        later = place + 1
        while hide_rest and later < len(ids) - 1 and not starts[later - 1]:
            hidden[later] = tokenizer.mask_token_id
            later += 1
        with torch.no_grad():
            logits = model(family)(input_ids=torch.tensor([hidden])).logits[0, place]
        total += float(logits.log_softmax(-1)[ids[place]])
    return total
