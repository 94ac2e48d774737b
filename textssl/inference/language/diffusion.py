"""Uses of masked diffusion models: a bound on the code length of texts, and generation by unmasking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from textssl.errors import UserError
from textssl.inference.language.likelihood import (
    DEFAULT_PSEUDO_CONTEXT,
    Likelihood,
    batches_of,
    context_of,
    parts_of,
    summed_nats,
    token_ids,
)
from textssl.models.configuration import read_pretext
from textssl.sample_types import content_key
from textssl.tokenizer.vocabulary import frame_of
from textssl.views.masking import hide_first

BOUND_DRAWS = 8  # passes over a text, each with other tokens hidden


@dataclass(frozen=True)
class Hidden:
    """A row read with the tokens at `places` hidden. weight: of their nats, 1 / (hidden share * draws)."""

    row: int
    places: np.ndarray
    weight: float


def is_diffusion(config: Any) -> bool:
    """Whether a configuration says that its model was trained by masked diffusion."""
    pretext = read_pretext(config)
    return pretext is not None and pretext.objective == "diffusion"


def diffusion_bound(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    context: int | None = None,
    draws: int = BOUND_DRAWS,
    seed: int = 0,
    progress: str | None = None,
) -> Likelihood:
    """An estimate of the upper bound of a masked diffusion model on minus the log-probability of each text.

    Of L tokens n are hidden at once, at random, n uniform on 1 to L, and their nats are weighted by L / n
    (arXiv:2502.09992, eq. 14). Each text is read `draws` times, with n spread evenly; the same seed hides the same
    tokens. Texts longer than `context` (default: what the model can take, up to 128) are cut into parts, which are
    read separately. Raises UserError where there is no text or mask token, or `context` does not fit the model.
    """
    if tokenizer.mask_token_id is None:
        raise UserError("the tokenizer has no mask token: the bound of a diffusion model needs one")
    context = context_of(model, tokenizer, context, DEFAULT_PSEUDO_CONTEXT)
    before, after = (list(part) for part in frame_of(tokenizer))
    ids = token_ids(tokenizer, texts)
    rows, owners, plan = [], [], []
    for text, row in enumerate(ids):
        rng = np.random.default_rng([seed, content_key(np.array(row))])  # the same whatever other texts there are
        for start, stop in parts_of(len(row), context - len(before) - len(after)):
            for rate in (np.arange(draws) + rng.random(draws)) / draws:
                chosen, weight = hide_first(np.ones(stop - start, bool), rng.random(stop - start), rate)
                plan.append(Hidden(len(rows), np.flatnonzero(chosen) + len(before), weight / draws))
            rows.append([*before, *row[start:stop], *after])
            owners.append(text)
    nats = np.zeros(len(texts))
    for places in batches_of(model, [len(rows[one.row]) for one in plan], progress):
        batch = [plan[place] for place in places]
        weights = np.array([one.weight for one in batch])
        found = hidden_nats(model, rows, [(one.row, one.places) for one in batch], tokenizer.mask_token_id)
        np.add.at(nats, [owners[one.row] for one in batch], weights * found)
    return Likelihood("bound", nats, np.array([len(row) for row in ids]), context)


def hidden_nats(
    model: PreTrainedModel, rows: list[list[int]], batch: list[tuple[int, np.ndarray]], mask_id: Any
) -> np.ndarray:
    """(batch,) minus the log-probability of the hidden tokens of each (row, places), given the visible ones."""
    length = max(len(rows[row]) for row, _ in batch)
    inputs = torch.full((len(batch), length), model.config.pad_token_id or 0)
    mask, targets = torch.zeros_like(inputs), torch.full_like(inputs, -100)
    for number, (row, places) in enumerate(batch):
        ids, hidden = torch.tensor(rows[row]), torch.from_numpy(places)
        inputs[number, : len(ids)], mask[number, : len(ids)] = ids, 1
        inputs[number, hidden] = mask_id
        targets[number, hidden] = ids[hidden]
    return summed_nats(model, inputs, mask, targets)


@torch.inference_mode()
def unmask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    new_tokens: int,
    *,
    steps: int,
    warp: LogitsProcessorList,
    greedy: bool = False,
) -> list[int]:
    """The ids of the prompt and of `new_tokens` after it, which are masks at first, filled in at most `steps` passes.

    In each pass an equal share of the masks gets tokens, drawn from the model's probabilities after `warp` (the reverse
    process of arXiv:2406.07524, section 3.2). The places are drawn too; greedy: those that the model is surest of, with
    their likeliest tokens (arXiv:2502.09992, section 2.4). Draws come from torch's global generator.
    """
    assert tokenizer.mask_token_id is not None
    _, after = frame_of(tokenizer)
    ids = torch.tensor([[*prompt, *[tokenizer.mask_token_id] * new_tokens, *after]], device=model.device)
    left = torch.arange(len(prompt), len(prompt) + new_tokens, device=model.device)
    forbidden = torch.tensor(sorted(tokenizer.all_special_ids), device=model.device)
    for step in range(min(steps, new_tokens)):
        logits: Any = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, left].float()
        logits[:, forbidden] = -torch.inf
        shares = torch.softmax(warp(ids.expand(len(left), -1), logits), dim=1)  # type: ignore[arg-type]
        best = shares.max(dim=1)
        tokens = best.indices if greedy else torch.multinomial(shares, 1).squeeze(1)
        order = best.values.argsort(descending=True) if greedy else torch.randperm(len(left)).to(left.device)
        now = order[: -(-len(left) // (min(steps, new_tokens) - step))]
        ids[0, left[now]] = tokens[now]
        left = left[torch.ones_like(left, dtype=torch.bool).index_fill(0, now, False)]
    return ids[0, : len(prompt) + new_tokens].tolist()
