"""Log-probabilities of texts: each token given those before it, or masked and given both sides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textssl.data.batches.token_reader import TokenReader
from textssl.errors import UserError
from textssl.inference.features import evaluation_mode
from textssl.inference.loading import context_limit
from textssl.models.configuration import prediction_offset
from textssl.models.heads import TRANSFORMS
from textssl.sample_types import cut_long_words
from textssl.system.progress import working
from textssl.tokenizer import WordFinder
from textssl.tokenizer.vocabulary import frame_of

DEFAULT_CONTEXT = 512
DEFAULT_PSEUDO_CONTEXT = 128  # each token costs a row of this length
LOGITS = 2**24  # numbers in the logits of one forward pass, 64 MiB


@dataclass(frozen=True)
class Likelihood:
    """nats: (texts,) minus the log-probability of each text. tokens: (texts,) how many were scored in each.

    kind: "causal"; "bound" (an estimated upper bound on the nats of a masked diffusion model, as in `diffusion_bound`);
    "pseudo" (tokens hidden in turn), which is not comparable with the others. context: the most tokens that the model
    could read at once.
    """

    kind: str
    nats: np.ndarray
    tokens: np.ndarray
    context: int


@dataclass(frozen=True)
class Window:
    """Tokens [start, stop) of a text's sequence that the model reads, to score the tokens first to stop, inclusive."""

    text: int
    start: int
    stop: int
    first: int


@dataclass(frozen=True)
class Gap:
    """A row read whole but for the tokens [place, stop), which are hidden, to score the token at `place`."""

    row: int
    place: int
    stop: int


def windows(text: int, length: int, context: int, stride: int) -> Iterator[Window]:
    """Windows of at most `context` tokens, `stride` apart, that score the tokens 1 to `length` of a sequence once each.

    The sequence has a start token at 0, which is not scored. A window scores only what none before it has scored.
    """
    start, scored = 0, 0
    while scored < length:
        stop = min(start + context, length)
        yield Window(text, start, stop, scored + 1)
        scored = stop
        start += stride


def causal_likelihood(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: str | None = None,
) -> Likelihood:
    """The log-probability that a causal model gives to each text.

    Every token of every text is scored exactly once, given the start-of-text token (bos, else eos) and the tokens
    before it, at most `context` (default: what the model can take, up to 512). Texts longer than that are read in
    windows `stride` apart (default: half a context), so that after the first one each token is given at least
    context - stride tokens. The end of a text is not scored. Without a start token the first token of a text is scored
    as uniform over the vocabulary. Raises UserError where there is no text, or context or stride do not fit.
    """
    context = context_of(model, tokenizer, context, DEFAULT_CONTEXT)
    stride = max(1, context // 2) if stride is None else stride
    if not 1 <= stride <= context:
        raise UserError(f"stride is {stride}, it must be between 1 and the context, {context}")
    start_id = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    sequences = ids = token_ids(tokenizer, texts)
    nats = np.zeros(len(texts))
    if start_id is None:
        nats += [bool(row) * math.log(model.config.vocab_size) for row in ids]
    else:
        sequences = [[start_id, *row] for row in ids]
    plan = [w for text, row in enumerate(sequences) for w in windows(text, len(row) - 1, context, stride)]
    for places in batches_of(model, [window.stop - window.start for window in plan], progress):
        batch = [plan[place] for place in places]
        np.add.at(nats, [window.text for window in batch], _causal_nats(model, sequences, batch))
    return Likelihood("causal", nats, np.array([len(row) for row in ids]), context)


def _causal_nats(model: PreTrainedModel, sequences: list[list[int]], batch: list[Window]) -> np.ndarray:
    """(windows,) minus the log-probability of the tokens that each window scores."""
    length = max(window.stop - window.start for window in batch)
    inputs = torch.zeros((len(batch), length), dtype=torch.long)
    mask, targets = torch.zeros_like(inputs), torch.full_like(inputs, -100)
    for row, window in enumerate(batch):
        size, seen = window.stop - window.start, window.first - 1 - window.start
        sequence = torch.tensor(sequences[window.text][window.start : window.stop + 1])
        inputs[row, :size], mask[row, :size] = sequence[:-1], 1
        targets[row, seen:size] = sequence[seen + 1 :]
    return summed_nats(model, inputs, mask, targets)


def pseudo_likelihood(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    context: int | None = None,
    hide_rest: bool = False,
    progress: str | None = None,
) -> Likelihood:
    """The pseudo-log-likelihood that a masked model gives to each text (arXiv:1910.14659, eq. 2).

    Each token is hidden alone and scored given all others, which costs one row a token. hide_rest: hides the tokens
    after it in its word as well (arXiv:2305.10588, PLL-word-l2r); otherwise a rare word of several tokens gives itself
    away. Texts longer than `context` (default: what the model can take, up to 128) are cut into parts of nearly equal
    length, which are read separately. Logits are read at the offset in the model's configuration. Raises UserError
    where there is no text or mask token, no place for the logits of the first token, or `context` does not fit.
    """
    if tokenizer.mask_token_id is None:
        raise UserError("the tokenizer has no mask token: a pseudo-log-likelihood needs one")
    context = context_of(model, tokenizer, context, DEFAULT_PSEUDO_CONTEXT)
    before, after = (list(part) for part in frame_of(tokenizer))
    if prediction_offset(model.config) > len(before):
        raise UserError("the model predicts a token at the place before it, and the tokenizer puts none before a text")
    ids = token_ids(tokenizer, texts)
    ends = _word_ends(tokenizer, texts) if hide_rest else [list(range(1, len(row) + 1)) for row in ids]
    rows, owners, plan = [], [], []
    for text, row in enumerate(ids):
        for start, stop in parts_of(len(row), context - len(before) - len(after)):
            shift = len(before) - start
            for place in range(start, stop):
                plan.append(Gap(len(rows), place + shift, min(ends[text][place], stop) + shift))
            rows.append([*before, *row[start:stop], *after])
            owners.append(text)
    nats = np.zeros(len(texts))
    for places in batches_of(model, [len(rows[gap.row]) for gap in plan], progress):
        batch = [plan[place] for place in places]
        np.add.at(nats, [owners[gap.row] for gap in batch], _gap_nats(model, rows, batch, tokenizer.mask_token_id))
    return Likelihood("pseudo", nats, np.array([len(row) for row in ids]), context)


def _gap_nats(model: PreTrainedModel, rows: list[list[int]], batch: list[Gap], mask_id: Any) -> np.ndarray:
    """(gaps,) minus the log-probability of the token at each gap's place, whose logits may stand a place before it."""
    length = max(len(rows[gap.row]) for gap in batch)
    inputs = torch.full((len(batch), length), model.config.pad_token_id or 0)
    mask, targets = torch.zeros_like(inputs), torch.full_like(inputs, -100)
    offset = prediction_offset(model.config)
    for row, gap in enumerate(batch):
        ids = rows[gap.row]
        inputs[row, : len(ids)], mask[row, : len(ids)] = torch.tensor(ids), 1
        inputs[row, gap.place : gap.stop] = mask_id
        targets[row, gap.place - offset] = ids[gap.place]
    return summed_nats(model, inputs, mask, targets)


def summed_nats(model: PreTrainedModel, inputs: Tensor, mask: Tensor, targets: Tensor) -> np.ndarray:
    """(rows,) summed cross-entropy in nats. All tensors: (rows, length); targets: -100 where nothing is scored."""
    device, scored = model.device, targets != -100
    with torch.inference_mode(), evaluation_mode(model):
        chosen = _logits(model, inputs.to(device), mask.to(device), scored.to(device)).float()
        each = F.cross_entropy(chosen, targets[scored].to(device), reduction="none").double().cpu().numpy()
    return np.bincount(scored.nonzero()[:, 0].numpy(), each, minlength=len(inputs))


def _logits(model: Any, inputs: Tensor, mask: Tensor, scored: Tensor) -> Tensor:
    """(scored tokens, vocabulary) logits; those of other tokens are computed only if the family's head is unknown."""
    options = {"use_cache": False} if model.can_generate() else {}
    transform = TRANSFORMS.get(model.config.model_type)
    if transform is None:
        return model(input_ids=inputs, attention_mask=mask, **options).logits[scored]
    hidden = model.base_model(input_ids=inputs, attention_mask=mask, **options).last_hidden_state
    return model.get_output_embeddings()(transform(model, hidden[scored]))


def _word_ends(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """For each token of each text the index after the last token of its word. UserError for slow tokenizers."""
    if not getattr(tokenizer, "is_fast", False):
        raise UserError("this tokenizer does not tell where words end: set hide_rest to false")
    finder, ends = WordFinder(tokenizer.backend_tokenizer), []
    for encoding in tokenizer(list(texts), add_special_tokens=False, verbose=False).encodings:
        starts = np.flatnonzero(cut_long_words(finder.starts([encoding], np.array(encoding.ids, dtype=np.int64))))
        bounds = [*starts.tolist(), len(encoding.ids)]
        ends.append([stop for start, stop in pairwise(bounds) for _ in range(start, stop)])
    return ends


def parts_of(length: int, room: int) -> Iterator[tuple[int, int]]:
    """Bounds of the fewest parts of at most `room` tokens, whose lengths differ by at most one."""
    count = math.ceil(length / room)
    yield from pairwise(length * part // count for part in range(count + 1) if count)


def context_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, context: int | None, default: int) -> int:
    limit = context_limit(model.config, tokenizer)
    if context is None:
        return min(limit or default, default)
    if context < 4 or (limit is not None and context > limit):
        raise UserError(
            f"a context of {context} tokens does not fit the model, which takes 4 to {limit or 'any number'}"
        )
    return context


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, not truncated, without special tokens. Raises UserError where there is no text."""
    if not any(texts):
        raise UserError("there is no text to score")
    return [row.tolist() for row in TokenReader(tokenizer, special_tokens=False).read(texts).rows]


def batches_of(model: PreTrainedModel, lengths: Sequence[int], progress: str | None) -> Iterator[list[int]]:
    """Indices of rows of similar length, longest first, with at most LOGITS logits a batch. lengths: of each row."""
    budget = max(1, LOGITS // model.config.vocab_size)
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    with working(progress or "scoring texts", len(order), "rows", bar=progress is not None) as work:
        start = 0
        while start < len(order):
            size = max(1, budget // lengths[order[start]])
            yield order[start : start + size]
            start += size
            work.advance(size)
