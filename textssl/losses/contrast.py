"""Losses over all vectors of a batch, and soft assignments of vectors to prototypes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


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
    query = F.normalize(query, dim=1)
    blocks = [
        (key, same if same is None else same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)),
        *more,
    ]
    logits = []
    for keys, excluded in blocks:
        scores = query @ F.normalize(keys, dim=1).T / temperature
        logits.append(scores if excluded is None else scores.masked_fill(excluded, -torch.inf))
    return F.cross_entropy(torch.cat(logits, dim=1), torch.arange(len(query), device=query.device))


def nt_xent(first: Tensor, second: Tensor, temperature: float, *, same: Tensor | None = None) -> Tensor:
    """Each of 2N views finds its partner among the 2N - 1 others: the MEAN over views (arXiv:2002.05709, eq. 1).

    first, second: (samples, width), the two views. same: (2 samples, 2 samples) bool over first then second views, True
    where two views are no negatives of each other since their contents are equal; partners and the diagonal do not
    matter.
    """
    views = F.normalize(torch.cat([first, second]), dim=1)
    count = len(first)
    place = torch.arange(2 * count, device=views.device)
    partner = (place + count) % (2 * count)
    excluded = (
        torch.zeros(2 * count, 2 * count, dtype=torch.bool, device=views.device) if same is None else same.clone()
    )
    excluded[place, partner] = False
    excluded[place, place] = True
    return F.cross_entropy((views @ views.T / temperature).masked_fill(excluded, -torch.inf), partner)


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
