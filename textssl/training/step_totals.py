"""What the ranks know together before a step's backward, from one small all-reduce."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from textssl.distributed import sum_over_ranks


@dataclass
class Agreed:
    """The same on every rank. counts: items of each term in the global step; places: tokens and padding; seconds: rank
    0's training clock; stop: somebody had a signal; lost: rank 0's run folder is no more."""

    counts: dict[str, float]
    tokens: int
    places: int
    seconds: float
    stop: bool
    lost: bool


def agree(mine: Agreed, device: torch.device) -> Agreed:
    """The sums of what each rank has: `seconds` and `lost` must be 0 on all but rank 0."""
    names = sorted(mine.counts)
    values = [mine.counts[name] for name in names]
    values += [mine.tokens, mine.places, mine.seconds, float(mine.stop), float(mine.lost)]
    *counts, tokens, places, seconds, stop, lost = sum_over_ranks(values, device)
    return Agreed(dict(zip(names, counts, strict=True)), int(tokens), int(places), seconds, stop > 0, lost > 0)
