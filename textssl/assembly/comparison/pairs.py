"""Rows of a comparison beside the best one of each column: which differences are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from textssl.evaluation.figures.figure import less_is_better
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.paired import FEWEST, holm, outcome_difference

Seeds = Mapping[int, Mapping[str, Outcomes]]  # {seed: {"bbc/probe_8": outcomes}}


def beside_best(rows: Sequence[dict[str, Any]], outcomes: Mapping[tuple[str, str], Seeds], keys: Sequence[str]) -> None:
    """Add "beside_best" to the figures of objectives: {"best": its name, "difference": best - row, "p"}.

    outcomes: of the runs of each (name, model). The tests are paired, on the same examples and seeds; p is that of the
    least sure seed, adjusted for the number of rows (Holm). Rows that share no seed with the best one stay without.
    """
    for key in keys:
        figures = {(row["name"], row["model"]): row["figures"][key] for row in rows if key in row["figures"]}
        figures = {row: figure for row, figure in figures.items() if row in outcomes}
        if len(figures) < 2:
            continue
        sign = -1 if less_is_better(key) else 1
        best = max(figures, key=lambda row: sign * figures[row]["mean"])
        tested = []  # (figure, difference, p) each
        for row, figure in figures.items():
            difference = figures[best]["mean"] - figure["mean"]
            p = None if row == best else least_sure(outcomes[best], outcomes[row], difference, key)
            if p is not None:
                tested.append((figure, difference, p))
        adjusted = holm(np.array([p for _, _, p in tested])).tolist()
        for (figure, difference, _), p in zip(tested, adjusted, strict=True):
            figure["beside_best"] = {"best": best[0], "difference": difference, "p": p}


def least_sure(best: Seeds, other: Seeds, difference: float, key: str) -> float | None:
    """p of the least sure of the seeds that both have; None where there is none. difference: over all seeds."""
    pairs = [(best[seed].get(key), other[seed].get(key)) for seed in best if seed in other]
    found = [(one, two) for one, two in pairs if one is not None and two is not None and one.examples >= FEWEST]
    return max((outcome_difference(*pair, own_gap(*pair, difference)).p for pair in found), default=None)


def own_gap(first: Outcomes, second: Outcomes, difference: float) -> float:
    """The difference of one seed where a test looks at it, that of a jackknife; `difference` elsewhere."""
    if first.left_out is None or second.left_out is None:
        return difference
    return float((first.left_out - second.left_out).mean())
