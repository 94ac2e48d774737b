"""What objectives need to know of a tokenizer, as plain numbers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from textssl.errors import UserError

PROBES = ("a", "0", "一")  # most tokenizers have a token for the first


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's size and the ids of its special tokens, which may be None; prefix, suffix: around a text."""

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

        prefix, suffix: the ids that it puts around a single text. Raises UserError as `frame_of`.
        """
        ids = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "cls", "sep", "bos", "eos")}
        prefix, suffix = frame_of(tokenizer)
        special = tuple(sorted(tokenizer.all_special_ids))
        return cls(size=len(tokenizer), pad=padding_id(tokenizer), special=special, prefix=prefix, suffix=suffix, **ids)


def frame_of(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that a transformers tokenizer puts before and after a single text.

    They are read off a text that has tokens, which is not the same one for every tokenizer. Raises UserError where no
    text has any.
    """
    ordinary = sorted(set(range(len(tokenizer))) - set(tokenizer.all_special_ids))
    for probe in itertools.chain(PROBES, (tokenizer.decode([number]) for number in ordinary)):
        bare = tokenizer(probe, add_special_tokens=False)["input_ids"]
        if bare:
            framed = tokenizer(probe)["input_ids"]
            starts = range(len(framed) - len(bare) + 1)
            first = next(start for start in starts if framed[start : start + len(bare)] == bare)
            return tuple(framed[:first]), tuple(framed[first + len(bare) :])
    raise UserError("the tokenizer has no token for any text: train another one with `textssl tokenizer train`")


def padding_id(tokenizer: Any) -> int:
    """The id that pads a text: the padding token, else the end token (many decoders have no other), else token 0."""
    if tokenizer.pad_token_id is not None:
        return tokenizer.pad_token_id
    return tokenizer.eos_token_id if tokenizer.eos_token_id is not None else 0
