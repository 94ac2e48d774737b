"""The formulas of the papers, one number after another: what the fast functions are held against."""

from __future__ import annotations

from typing import Any

import numpy as np


def cosine(a, b):
    return float(np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b)))


def negative_log_share(scores, wanted):
    """-log(exp(scores[wanted]) / sum exp(scores)), one number after another."""
    top = max(scores)
    return top + np.log(sum(np.exp(score - top) for score in scores)) - scores[wanted]


def info_nce_by_hand(query, key, temperature, same=None, more=()):
    """arXiv:1807.03748, equation 4, with cosines; in loops."""
    found = []
    for i in range(len(query)):
        scores = [cosine(query[i], key[i]) / temperature]
        for j in range(len(key)):
            if j != i and not (same is not None and same[i, j]):
                scores.append(cosine(query[i], key[j]) / temperature)
        for others, excluded in more:
            for j in range(len(others)):
                if excluded is None or not excluded[i, j]:
                    scores.append(cosine(query[i], others[j]) / temperature)
        found.append(negative_log_share(scores, 0))
    return np.mean(found)


def nt_xent_by_hand(first, second, temperature, same=None):
    """arXiv:2002.05709, equation 1 and algorithm 1; in loops."""
    views, count, found = [*first, *second], len(first), []
    for i in range(2 * count):
        partner = i + count if i < count else i - count
        scores = [cosine(views[i], views[partner]) / temperature]
        for k in range(2 * count):
            if k not in (i, partner) and not (same is not None and same[i, k]):
                scores.append(cosine(views[i], views[k]) / temperature)
        found.append(negative_log_share(scores, 0))
    return np.mean(found)


def head_by_hand(head, rows):
    """Linear layers, ReLUs and batch normalisations over these rows, one after another, on a numpy array."""
    for module in head:
        values: list[Any] = [getattr(module, name, None) for name in ("weight", "bias")]
        weight, bias = (None if value is None else value.detach().numpy() for value in values)
        kind = type(module).__name__
        if kind == "Linear":
            assert weight is not None
            rows = rows @ weight.T
        elif kind == "BatchNorm1d":
            rows = (rows - rows.mean(0)) / np.sqrt(rows.var(0) + 1e-8)
            rows = rows if weight is None else rows * weight
        else:
            assert kind == "ReLU" and weight is None
            rows = np.maximum(rows, 0)
        rows = rows if bias is None else rows + bias
    return rows
