"""The learning rate as a share of its peak, from how far the run is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from textssl.sections import ScheduleConfig, TrainConfig


@dataclass(frozen=True)
class Spent:
    """What a run has used so far."""

    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0


def progress(train: TrainConfig, spent: Spent) -> float:
    """How much of the run is done, in [0, 1]: the largest share of any of its limits."""
    limits = ((spent.steps, train.max_steps), (spent.tokens, train.max_tokens), (spent.seconds, train.max_seconds))
    return min(1.0, max(used / limit for used, limit in limits if limit is not None))


def expected_progress(train: TrainConfig, tokens_per_step: int, step: int) -> float | None:
    """Progress at a step where that is a function of the step alone; None where wall-clock time has a say.

    A token limit counts full steps of `tokens_per_step`, so that a worker can know it ahead.
    """
    if train.max_seconds is not None:
        return None
    return progress(train, Spent(steps=step, tokens=step * tokens_per_step))


def lr_factor(config: ScheduleConfig, step: int, done: float) -> float:
    """Learning rate of a step over its peak.

    step: counted from 0. done: the share of the run that is done in the middle of this step, in (0, 1), so that even
    the last step learns. linear and cosine fall over what is left after the warmup (cosine: arXiv:1608.03983, eq. 5);
    wsd is warmup-stable-decay (arXiv:2404.06395, section 4.1) with a linear decay.
    """
    if config.warmup_steps is not None:
        warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    else:
        warmup = min(1.0, done / config.warmup_fraction) if config.warmup_fraction else 1.0
    decayed = share_after_warmup(config, step, done)
    shapes = {
        "constant": 1.0,
        "linear": 1.0 - decayed,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * decayed)),
        "wsd": min(1.0, (1.0 - done) / config.decay_fraction),
    }
    shape = shapes[config.name]
    if config.name != "constant":
        shape = config.final_ratio + (1.0 - config.final_ratio) * shape
    return min(warmup, shape)


def share_after_warmup(config: ScheduleConfig, step: int, done: float) -> float:
    """How much of what follows the warmup is done, in [0, 1]; 0 in the first step after it, which has the full rate.

    A length in tokens or seconds does not say how many steps are to come: they are taken to be as long as those so far.
    """
    one = done / (step + 0.5)  # share of the run that a step takes
    warmup = config.warmup_fraction if config.warmup_steps is None else config.warmup_steps * one
    begin = warmup + one
    return min(1.0, (done - begin) / (1.0 - begin)) if done > begin else 0.0


class StepProgress:
    """step -> progress, for the loader's workers.

    Where wall-clock time has a say, the trainer writes the progress into `clock`, a value shared between processes, and
    samples made ahead lag a few steps behind.
    """

    def __init__(self, train: TrainConfig, tokens_per_step: int, clock: Any):
        self.train, self.tokens_per_step, self.clock = train, tokens_per_step, clock

    def __call__(self, step: int) -> float:
        expected = expected_progress(self.train, self.tokens_per_step, step)
        return self.clock.value if expected is None else expected
