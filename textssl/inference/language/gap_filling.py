"""Gaps of a text filled by an encoder-decoder: span by span if it learned spans, else by rewriting the text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, GenerationConfig

from textssl.errors import UserError
from textssl.inference.loading import context_limit, load_tokenizer, load_weights
from textssl.models.configuration import position_capacity
from textssl.tokenizer.sentinels import SENTINELS, sentinel_ids
from textssl.tokenizer.vocabulary import padding_id


class GapFiller:
    """An encoder-decoder and its tokenizer. Raises UserError where the folder holds no such model.

    A gap is a mask token or a sentinel. noises: what the model learned to repair, as config.json says
    (`textssl.noises`); if it does not say, spans where the tokenizer has sentinels, else infilling.
    """

    def __init__(self, folder: Path):
        self.tokenizer: Any = load_tokenizer(folder)
        self.model: Any = load_weights(folder, AutoModelForSeq2SeqLM)
        self.sentinels = sentinel_ids(self.tokenizer)
        known = (getattr(self.model.config, "textssl", None) or {}).get("noises")
        self.noises = known or (["spans"] if self.sentinels else ["infilling"])
        self.limit = context_limit(self.model.config, self.tokenizer)
        written = self.model.generation_config
        end = written.eos_token_id if written.eos_token_id is not None else self.tokenizer.eos_token_id
        self.ends: list[int] = end if isinstance(end, list) else [] if end is None else [end]
        self.begin = written.decoder_start_token_id
        self.marks = {self.tokenizer.mask_token_id, *self.sentinels} - {None}

    def fill(self, text: str, max_new_tokens: int, options: dict[str, Any]) -> str:
        """The text with its gaps filled; one without is continued, or repaired if in training gaps were not marked.

        max_new_tokens: of a gap, or of the whole text. options: of a GenerationConfig. Raises UserError where the text
        or what is to be written is too long, or there are more gaps than sentinels.
        """
        if "spans" in self.noises:
            filled = self.fill_spans(self.with_gap(text), max_new_tokens, options)
        elif "infilling" in self.noises:
            mask = self.tokenizer.mask_token_id
            ids = [mask if number in self.marks else number for number in self.with_gap(text)]
            filled = self.write(ids, [], self.ends, max_new_tokens, options)
        else:  # in training, nothing marked what was missing
            ids = [number for number in self.read(text) if number not in self.marks]
            filled = self.write(ids, [], self.ends, max_new_tokens, options)
        found = str(self.tokenizer.decode(filled, skip_special_tokens=True))
        return found if text[:1].isspace() else found.removeprefix(" ")  # byte-level tokens begin with a space

    def read(self, text: str) -> list[int]:
        """The ids of a text, special tokens around it included. Raises UserError where it is too long."""
        if self.sentinels and self.tokenizer.mask_token:  # a sentinel takes in the space before it, as in training
            text = text.replace(str(self.tokenizer.mask_token), SENTINELS[0])
        ids = self.tokenizer(text, verbose=False)["input_ids"]
        if self.limit is not None and len(ids) > self.limit:
            raise UserError(f"the prompt has {len(ids)} tokens, but the model reads {self.limit}")
        return ids

    def with_gap(self, text: str) -> list[int]:
        """The ids of a text, with a gap at its end where it has none."""
        ids = self.read(text)
        mark = SENTINELS[0] if self.sentinels else self.tokenizer.mask_token
        return ids if self.marks & set(ids) else self.read(f"{text} {mark}")

    def fill_spans(self, ids: list[int], max_new_tokens: int, options: dict[str, Any]) -> list[int]:
        """The ids with the tokens for each gap in its place; they are written one gap after another."""
        gaps = [place for place, number in enumerate(ids) if number in self.marks]
        if len(gaps) > len(self.sentinels):
            raise UserError(f"the prompt has {len(gaps)} gaps, at most {len(self.sentinels)} fit")
        source = list(ids)
        for place, sentinel in zip(gaps, self.sentinels, strict=False):
            source[place] = sentinel
        written, filled, last = [], [], 0
        for place, sentinel in zip(gaps, self.sentinels, strict=False):
            written.append(sentinel)
            new = self.write(source, written, [*self.ends, *self.sentinels], max_new_tokens, options)
            written += new
            filled += [*ids[last:place], *new]
            last = place + 1
        return filled + ids[last:]

    def write(
        self, source: list[int], before: Sequence[int], ends: list[int], max_new_tokens: int, options: dict[str, Any]
    ) -> list[int]:
        """The ids that the decoder writes after `before`, at least one, without the one of `ends` that ends it."""
        room = position_capacity(self.model.config)
        most = max_new_tokens if room is None else min(max_new_tokens, room - len(before) - 1)
        if most < 1:
            raise UserError("the gaps need more tokens than the model can write: lower max_new_tokens")
        settings = GenerationConfig(
            max_new_tokens=most,
            min_new_tokens=1,
            eos_token_id=ends or None,
            pad_token_id=padding_id(self.tokenizer),
            decoder_start_token_id=self.begin,
            suppress_tokens=sorted({*self.tokenizer.all_special_ids, *self.sentinels} - set(ends)) or None,
            **options,
        )
        given = torch.tensor([source], device=self.model.device)
        start = torch.tensor([[self.begin, *before]], device=self.model.device)
        output = self.model.generate(
            input_ids=given,
            attention_mask=torch.ones_like(given),
            decoder_input_ids=start,
            generation_config=settings,
        )
        new = output[0, start.shape[1] :].tolist()
        return new[:-1] if new and new[-1] in ends else new
