"""95 % intervals: of the mean of repetitions, over resampled examples, and over parts of a sample left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from textssl.evaluation.figures.resampling import Statistic, resampled

RESAMPLES = 1_000
PARTS = 10


@dataclass(frozen=True)
class Score:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def over_draws(scores: Sequence[float], bounds: tuple[float, float] = (0.0, 1.0)) -> Score:
    """Mean of independent repetitions with Student's 95 % interval of the mean, kept within bounds."""
    values = np.asarray(scores, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Score(mean, mean, mean)
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Score(mean, max(mean - half, bounds[0]), min(mean + half, bounds[1]))


def bootstrap(statistic: Statistic, examples: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of a statistic of examples drawn with replacement, RESAMPLES times."""
    return percentiles(resampled(statistic, examples, RESAMPLES, seed))


def jackknife(value: float, left_out: np.ndarray, bounds: tuple[float, float]) -> Score:
    """A statistic of all rows, and Student's 95 % interval from its values without each part, as `without_parts` gives.

    For statistics over pairs of rows: drawn with replacement, a row would stand beside itself at distance 0.
    """
    half = float(stats.t.ppf(0.975, len(left_out) - 1) * jackknife_error(left_out))
    return Score(value, max(value - half, bounds[0]), min(value + half, bounds[1]))


def without_parts(statistic: Callable[[np.ndarray], float], rows: np.ndarray, seed: int) -> np.ndarray:
    """(parts,) values of a statistic without each of PARTS random parts of the rows; fewer rows are a part each."""
    parts = np.random.default_rng(seed).permutation(len(rows)) % PARTS
    return np.array([statistic(rows[parts != part]) for part in range(min(PARTS, len(rows)))])


def jackknife_error(left_out: np.ndarray) -> float:
    """The jackknife's standard error, from the values without each part."""
    return float(np.sqrt((len(left_out) - 1) / len(left_out) * ((left_out - left_out.mean()) ** 2).sum()))


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 2.5 % and 97.5 % percentiles."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
