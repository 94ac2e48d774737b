"""What objectives need to know of a tokenizer, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Vocabulary:
    """What objectives need to know of a tokenizer: its size and the ids of its special tokens (None: it has none)."""

    size: int
    pad: int
    special: tuple[int, ...]
    mask: int | None = None
    cls: int | None = None
    sep: int | None = None
    bos: int | None = None
    eos: int | None = None
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    @classmethod
    def of(cls, tokenizer: Any) -> Vocabulary:
        """Read off a transformers tokenizer.

        prefix, suffix: what the tokenizer puts around a single text.
        """
        ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "cls", "sep", "bos", "eos")}
        bare = tokenizer("a", add_special_tokens=False)["input_ids"]
        framed = tokenizer("a")["input_ids"]
        first = next(at for at in range(len(framed)) if framed[at : at + len(bare)] == bare)
        prefix, suffix = tuple(framed[:first]), tuple(framed[first + len(bare) :])
        special = tuple(sorted(tokenizer.all_special_ids))
        return cls(size=len(tokenizer), pad=padding_id(tokenizer), special=special, prefix=prefix, suffix=suffix, **ids)


def padding_id(tokenizer: Any) -> int:
    """What fills a text up: the padding token, else the end token (many decoders have no other), else token 0."""
    if tokenizer.pad_token_id is not None:
        return tokenizer.pad_token_id
    return tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
