"""How well a language model predicts text: bits per UTF-8 byte, which compare across tokenizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textssl.inference.language.likelihood import Likelihood, causal_likelihood, pseudo_likelihood
from textssl.tokenizer import keeps_text


@dataclass(frozen=True)
class LanguageFigure:
    """Bits per UTF-8 byte and what they were measured on.

    kind: "causal", "bound" (at most so many), or "pseudo" (each token hidden in turn), which is not comparable with the
    others.
    bits_per_byte: None where the tokenizer does not keep all of a text (unknown tokens, lowercasing).
    tokens: all tokens of the texts, each scored once. nats_per_token: not comparable across tokenizers.
    """

    kind: str
    bits_per_byte: float | None
    nats_per_token: float
    texts: int
    tokens: int
    bytes: int
    context: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def bits_per_byte(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: str | None = None,
) -> LanguageFigure:
    """Minus log2 of the probability that a causal model gives to the texts, over their UTF-8 bytes.

    context, stride and what is scored: as in `causal_likelihood`. Raises UserError where there is no text.
    """
    found = causal_likelihood(model, tokenizer, texts, context=context, stride=stride, progress=progress)
    return language_figure(found, texts, tokenizer)


def pseudo_bits_per_byte(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    context: int | None = None,
    progress: str | None = None,
) -> LanguageFigure:
    """Pseudo-log-likelihood of a masked model (arXiv:1910.14659, eq. 2) in bits per UTF-8 byte.

    context: as in `pseudo_likelihood`. Raises UserError where there is no text or no mask token.
    """
    found = pseudo_likelihood(model, tokenizer, texts, context=context, progress=progress)
    return language_figure(found, texts, tokenizer)


def language_figure(found: Likelihood, texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> LanguageFigure:
    """The figure over all texts. found: (texts,) nats and tokens."""
    nats, tokens, num_bytes = float(found.nats.sum()), int(found.tokens.sum()), int(bytes_of(texts).sum())
    bits = nats / math.log(2) / num_bytes if keeps_text(tokenizer) else None
    return LanguageFigure(found.kind, bits, nats / max(tokens, 1), len(texts), tokens, num_bytes, found.context)


def bytes_of(texts: Sequence[str]) -> np.ndarray:
    """(texts,) UTF-8 bytes."""
    return np.array([len(text.encode()) for text in texts])
