"""Losses over all vectors of a batch, and soft assignments of vectors to prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from textssl.losses.unit import unit


def info_nce(
    query: Tensor,
    key: Tensor,
    temperature: float,
    *,
    same: Tensor | None = None,
    more: Sequence[tuple[Tensor, Tensor | None]] = (),
) -> Tensor:
    """Each query finds its own key among all keys by cosine: the MEAN cross entropy, in nats (arXiv:1807.03748, eq. 4).

    query, key: (samples, width), of any norm; row i of one belongs to row i of the other. temperature: what cosines are
    divided by. same: (samples, samples) bool, True where key j is no negative of query i, since their contents are
    equal; the diagonal does not matter. more: further negatives of all queries, (others, width) each, with a (samples,
    others) bool mask, True where one is no negative, or None.
    """
    rows = len(query)
    own = torch.arange(rows, device=query.device)
    blocks = [(key, same if same is None else same.clone().fill_diagonal_(False)), *more]
    excluded = None
    if any(mask is not None for _, mask in blocks):
        masks = [mask if mask is not None else none_excluded(rows, keys) for keys, mask in blocks]
        excluded = masks[0] if len(masks) == 1 else torch.cat(masks, dim=1)
    return found_among(unit(query), [unit(keys) for keys, _ in blocks], own, temperature, excluded)


def none_excluded(rows: int, keys: Tensor) -> Tensor:
    return torch.zeros(rows, len(keys), dtype=torch.bool, device=keys.device)


def nt_xent(first: Tensor, second: Tensor, temperature: float, *, same: Tensor | None = None) -> Tensor:
    """Each of 2N views finds its partner among the 2N - 1 others: the MEAN over views (arXiv:2002.05709, eq. 1).

    first, second: (samples, width), the two views. same: (2 samples, 2 samples) bool over first then second views, True
    where two views are no negatives of each other since their contents are equal; partners and the diagonal do not
    matter.
    """
    views = unit(torch.cat([first, second]))
    count = len(first)
    place = torch.arange(2 * count, device=views.device)
    partner = (place + count) % (2 * count)
    excluded = none_excluded(2 * count, views) if same is None else same.clone()
    excluded[place, partner] = False
    excluded[place, place] = True
    return found_among(views, None, partner, temperature, excluded)


def found_among(
    query: Tensor, keys: Sequence[Tensor] | None, own: Tensor, temperature: float, excluded: Tensor | None
) -> Tensor:
    """Mean cross entropy of softmax(query keys' / temperature) at `own`.

    query: (rows, width). keys: blocks of (keys, width), one after another; None: the queries themselves. own: (rows,)
    int64, which key is a query's own. excluded: (rows, keys) bool, True where a key does not count; None: all do.

    One (rows, keys) array holds scores, then probabilities, then errors, which the backward multiplies by queries and
    keys; where the queries are the keys too, by both at once. Once differentiable.
    """
    parts = [query, *(keys or [])]
    wanted = torch.is_grad_enabled() and any(part.requires_grad for part in parts)
    return _FoundAmong.apply(wanted, own, temperature, excluded, *parts)  # type: ignore[no-any-return]


class _FoundAmong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, wanted, own, temperature, excluded, query, *keys):
        blocks = keys or (query,)
        ctx.sizes, ctx.temperature = [len(block) for block in blocks], temperature
        scaled, scores = query / temperature, query.new_empty(len(query), sum(ctx.sizes))
        for block, columns in zip(blocks, scores.split(ctx.sizes, dim=1), strict=True):
            torch.mm(scaled, block.T, out=columns)
        if excluded is not None:
            scores.masked_fill_(excluded, -torch.inf)
        scores -= scores.amax(dim=1, keepdim=True)
        at_own = scores.gather(1, own[:, None])
        sums = scores.exp_().sum(dim=1, keepdim=True)
        if wanted:
            errors = scores.div_(sums)
            errors[torch.arange(len(own), device=own.device), own] -= 1
            ctx.save_for_backward(errors, query, *keys)
        return (sums.log() - at_own).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        errors, query, *keys = ctx.saved_tensors
        scale = grad / (len(query) * ctx.temperature)
        if not keys:
            return None, None, None, None, (errors + errors.T) @ (query * scale)
        blocks = list(zip(keys, errors.split(ctx.sizes, dim=1), strict=True))
        of_query, *of_keys = ctx.needs_input_grad[4:]
        first = sum(part @ (block * scale) for block, part in blocks) if of_query else None
        others = [
            part.T @ (query * scale) if needed else None for needed, (_, part) in zip(of_keys, blocks, strict=True)
        ]
        return None, None, None, None, first, *others


def sinkhorn(scores: Tensor, epsilon: float, rounds: int, *, present: Tensor | None = None) -> Tensor:
    """Soft assignments that use all prototypes alike: (rows, prototypes), each row sums to 1 (arXiv:2006.09882, eq. 3).

    scores: (rows, prototypes) similarities. epsilon: by which they are divided; the smaller, the harder the assignment.
    rounds: of dividing by the sum of each prototype and then of each row (Sinkhorn-Knopp); 0: a softmax of each row.
    present: (rows,) bool, rows that count; None: all.
    """
    logs = scores / epsilon
    for _ in range(rounds):
        counted = logs if present is None else logs.masked_fill(~present[:, None], -torch.inf)
        logs = logs - counted.logsumexp(0)
        logs = logs - logs.logsumexp(1, keepdim=True)
    return logs.softmax(1)
