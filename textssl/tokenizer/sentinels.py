"""Sentinels: the tokens that stand for the hidden spans of a text (arXiv:1910.10683, figure 2)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))  # T5's names


def with_sentinels(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A copy of the tokenizer with the sentinels added to its vocabulary; those that it has already keep their ids."""
    longer = copy.deepcopy(tokenizer)
    # The space before a gap belongs to it, as it belongs to a word.
    added: list[Any] = [AddedToken(name, lstrip=True, special=True, normalized=False) for name in SENTINELS]
    longer.add_tokens(added, special_tokens=True)
    return longer


def sentinel_ids(tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The ids of the sentinels that a tokenizer has, in the order of their numbers."""
    vocabulary = tokenizer.get_vocab()
    return tuple(vocabulary[name] for name in SENTINELS if name in vocabulary)
