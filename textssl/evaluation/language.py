"""How well a language model predicts text: bits per UTF-8 byte, which compare across tokenizers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textssl.errors import UserError
from textssl.evaluation.features import evaluation_mode, no_bar
from textssl.evaluation.loading import context_limit
from textssl.tokenizer import keeps_text

DEFAULT_CONTEXT = 512
DEFAULT_PSEUDO_CONTEXT = 128  # each token costs a row of this length
LOGITS = 2**26  # numbers in the logits of one forward pass, 256 MiB


@dataclass(frozen=True)
class LanguageFigure:
    """Bits a UTF-8 byte and what stands behind them.

    kind: "causal", or "pseudo" (each token hidden in turn), which is not comparable with the causal kind.
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


@dataclass(frozen=True)
class Window:
    """Tokens [start, stop) of a text's sequence that the model reads, to score the tokens first..stop."""

    text: int
    start: int
    stop: int
    first: int


def windows(text: int, length: int, context: int, stride: int) -> Iterator[Window]:
    """Windows of at most `context` tokens, `stride` apart, that score the tokens 1..length of a sequence once each.

    The sequence has a start token at 0, which is not scored. A window scores only what none before it has.
    """
    start, scored = 0, 0
    while scored < length:
        stop = min(start + context, length)
        yield Window(text, start, stop, scored + 1)
        scored = stop
        start += stride


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

    Every token of every text is scored exactly once, given the start-of-text token (bos, else eos) and the tokens
    before it, at most `context` (default: what the model can take, up to 512). Texts longer than that are read in
    windows `stride` apart (default: half a context), so that a token sees at least context - stride tokens. The end of
    a text is not scored. Without a start token the first token of a text counts as drawn from the whole vocabulary at
    random. Raises UserError where there is no text.
    """
    context = _context(model, tokenizer, context, DEFAULT_CONTEXT)
    stride = stride or max(1, context // 2)
    if not 1 <= stride <= context:
        raise UserError(f"stride is {stride}, it must be between 1 and the context, {context}")
    start_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    ids = _ids(tokenizer, texts)
    guessed = 0.0
    if start_id is None:
        guessed = sum(map(bool, ids)) * math.log(model.config.vocab_size)
        sequences = ids
    else:
        sequences = [[start_id, *row] for row in ids]
    plan = [w for text, row in enumerate(sequences) for w in windows(text, len(row) - 1, context, stride)]
    nats = guessed + sum(_causal_nats(model, sequences, batch) for batch in _batches(model, plan, progress))
    return _figure("causal", nats, ids, texts, context, tokenizer)


def _causal_nats(model: PreTrainedModel, sequences: list[list[int]], batch: list[Window]) -> float:
    """Minus the log-probability of the tokens that a batch of windows scores."""
    length = max(window.stop - window.start for window in batch)
    inputs = torch.zeros((len(batch), length), dtype=torch.long)
    mask, targets = torch.zeros_like(inputs), torch.full_like(inputs, -100)
    for row, window in enumerate(batch):
        size, seen = window.stop - window.start, window.first - 1 - window.start
        sequence = torch.tensor(sequences[window.text][window.start : window.stop + 1])
        inputs[row, :size], mask[row, :size] = sequence[:-1], 1
        targets[row, seen:size] = sequence[seen + 1 :]
    return _nats(model, inputs, mask, targets)


def pseudo_bits_per_byte(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    context: int | None = None,
    progress: str | None = None,
) -> LanguageFigure:
    """Pseudo-log-likelihood of a masked model (arXiv:1910.14659, eq. 2) in bits a UTF-8 byte.

    Each token is masked alone and scored given all others, which costs one row a token. Texts longer than `context`
    (default: what the model can take, up to 128) are cut into parts of nearly equal length, read apart. Raises
    UserError where there is no text or no mask token.
    """
    if tokenizer.mask_token_id is None:
        raise UserError("the tokenizer has no mask token: a pseudo-log-likelihood needs one")
    context = _context(model, tokenizer, context, DEFAULT_PSEUDO_CONTEXT)
    before, after = special_tokens_around(tokenizer)
    room = context - len(before) - len(after)
    ids = _ids(tokenizer, texts)
    parts = [part for row in ids for part in _parts(row, room)]
    rows = [[*before, *part, *after] for part in parts]
    plan = [  # a window here is a whole row with its token `first` masked
        Window(index, 0, len(row), len(before) + place)
        for index, (part, row) in enumerate(zip(parts, rows, strict=True))
        for place in range(len(part))
    ]
    mask_id = int(tokenizer.mask_token_id)  # type: ignore[arg-type]
    nats = sum(_masked_nats(model, rows, batch, mask_id) for batch in _batches(model, plan, progress))
    return _figure("pseudo", nats, ids, texts, context, tokenizer)


def _masked_nats(model: PreTrainedModel, rows: list[list[int]], batch: list[Window], mask_id: int) -> float:
    length = max(window.stop for window in batch)
    inputs = torch.full((len(batch), length), model.config.pad_token_id or 0)
    mask, targets = torch.zeros_like(inputs), torch.full_like(inputs, -100)
    for row, window in enumerate(batch):
        inputs[row, : window.stop], mask[row, : window.stop] = torch.tensor(rows[window.text]), 1
        targets[row, window.first] = inputs[row, window.first]
        inputs[row, window.first] = mask_id
    return _nats(model, inputs, mask, targets)


def _nats(model: PreTrainedModel, inputs: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor) -> float:
    """Summed cross entropy in nats; all (rows, length), targets -100 where nothing is scored."""
    device = model.device
    with torch.inference_mode(), evaluation_mode(model):
        logits = model(input_ids=inputs.to(device), attention_mask=mask.to(device)).logits  # (rows, length, vocabulary)
        scored = targets != -100
        chosen = logits[scored.to(device)].float()
        return float(F.cross_entropy(chosen, targets[scored].to(device), reduction="none").double().sum())


def special_tokens_around(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """Ids that the tokenizer puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return full[:start], full[start + len(plain) :]
    return [], []


def _parts(ids: list[int], room: int) -> Iterator[list[int]]:
    """The fewest parts of at most `room` tokens, lengths equal to one token."""
    count = math.ceil(len(ids) / room)
    bounds = [len(ids) * part // count for part in range(count + 1)] if count else [0]
    for start, stop in pairwise(bounds):
        yield ids[start:stop]


def _context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int | None, default: int) -> int:
    limit = context_limit(model.config, tokenizer)
    if context is None:
        return min(limit or default, default)
    if context < 4 or (limit is not None and context > limit):
        raise UserError(
            f"a context of {context} tokens does not fit the model, which takes 4 to {limit or 'any number'}"
        )
    return context


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    if not any(texts):
        raise UserError("there is no text to score")
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def _batches(model: PreTrainedModel, plan: list[Window], progress: str | None) -> Iterator[list[Window]]:
    """Windows of similar length, their logits bounded by LOGITS, longest first."""
    budget = max(1, LOGITS // model.config.vocab_size)
    order = sorted(plan, key=lambda window: window.start - window.stop)
    with Progress(console=Console(stderr=True), transient=True, disable=no_bar(progress)) as bar:
        task = bar.add_task(progress or "", total=len(order))
        start = 0
        while start < len(order):
            size = max(1, budget // (order[start].stop - order[start].start))
            yield order[start : start + size]
            start += size
            bar.advance(task, size)


def _figure(
    kind: str,
    nats: float,
    ids: list[list[int]],
    texts: Sequence[str],
    context: int,
    tokenizer: PreTrainedTokenizerBase,
) -> LanguageFigure:
    tokens, num_bytes = sum(map(len, ids)), sum(len(text.encode()) for text in texts)
    bits = nats / math.log(2) / num_bytes if keeps_text(tokenizer) else None
    return LanguageFigure(kind, bits, nats / max(tokens, 1), len(texts), tokens, num_bytes, context)
