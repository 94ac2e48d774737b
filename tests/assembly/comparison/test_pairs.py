"""Rows of a comparison beside the best one of each column."""

from __future__ import annotations

from typing import Any

import numpy as np

from textssl.assembly.comparison.pairs import beside_best
from textssl.evaluation.figures.outcomes import Outcomes

KEY, BITS = "bbc/probe_8", "news/bits_per_byte"
RIGHT = np.random.default_rng(0).random((4, 300))  # how hard an example is, in each draw of labels


def row(name: str, **figures: float) -> dict[str, Any]:
    return {"name": name, "model": "nano", "figures": {key: {"mean": mean} for key, mean in figures.items()}}


def answers(skill: float) -> Outcomes:
    return Outcomes.of("share", skill > RIGHT)


def test_ties_with_the_best_and_what_is_worse():
    skills = {"best": 0.9, "tied": 0.895, "worse": 0.6}
    rows = [row(name, **{KEY: float(answers(skill).arrays[0].mean())}) for name, skill in skills.items()]
    rows.append(row("TF-IDF", **{KEY: 0.99}))  # a baseline, which answers are not kept of
    kept = {(name, "nano"): {0: {KEY: answers(skill)}, 1: {KEY: answers(skill)}} for name, skill in skills.items()}
    beside_best(rows, kept, [KEY])
    best, tied, worse, baseline = (one["figures"][KEY] for one in rows)
    assert "beside_best" not in best and "beside_best" not in baseline
    assert tied["beside_best"]["best"] == worse["beside_best"]["best"] == "best"
    assert tied["beside_best"]["p"] > 0.05 > worse["beside_best"]["p"]
    assert worse["beside_best"]["difference"] == best["mean"] - worse["mean"]


def test_the_lowest_is_the_best_of_bits_and_the_least_sure_seed_counts():
    rng = np.random.default_rng(1)
    sizes = rng.integers(50, 100, 60)
    low, high = sizes * 1.0, sizes * 1.5 + rng.normal(0, 1, 60)
    outcomes = {"low": Outcomes.of("ratio", low, sizes), "high": Outcomes.of("ratio", high, sizes)}
    rows = [row("high", **{BITS: 1.5}), row("low", **{BITS: 1.0})]
    kept = {(name, "nano"): {0: {BITS: one}} for name, one in outcomes.items()}
    beside_best(rows, kept, [BITS])
    assert rows[0]["figures"][BITS]["beside_best"]["p"] < 0.05 and "beside_best" not in rows[1]["figures"][BITS]
    same = {**kept[("high", "nano")], 1: {BITS: outcomes["low"]}}  # a seed in which they do not differ
    beside_best(
        rows,
        {**kept, ("high", "nano"): same, ("low", "nano"): {seed: kept["low", "nano"][0] for seed in (0, 1)}},
        [BITS],
    )
    assert rows[0]["figures"][BITS]["beside_best"]["p"] == 1


def test_seeds_that_none_shares_with_the_best_and_few_examples_are_not_tested():
    rows = [row("one", **{KEY: 0.9}), row("two", **{KEY: 0.5})]
    beside_best(rows, {("one", "nano"): {0: {KEY: answers(0.9)}}, ("two", "nano"): {1: {KEY: answers(0.5)}}}, [KEY])
    few = {KEY: Outcomes.of("mean", np.ones(9, bool))}
    beside_best(rows, {("one", "nano"): {0: few}, ("two", "nano"): {0: few}}, [KEY])
    assert all("beside_best" not in one["figures"][KEY] for one in rows)


def test_a_seed_is_tested_by_its_own_difference():
    """One seed far apart and one all alike: the mean of both is far from 0 for the second one's small error."""
    noise = np.random.default_rng(2).normal(0, 0.001, (4, 20))
    far, near = (Outcomes("parts", 300, (0.9 + noise[0],)), Outcomes("parts", 300, (0.5 + noise[1],))), noise[2:]
    alike = Outcomes("parts", 300, (0.7 + near[0],)), Outcomes("parts", 300, (0.7 + near[1],))
    rows = [row("one", **{KEY: 0.8}), row("two", **{KEY: 0.6})]
    kept = {(name, "nano"): {0: {KEY: far[place]}, 1: {KEY: alike[place]}} for place, name in enumerate(("one", "two"))}
    beside_best(rows, kept, [KEY])
    assert rows[1]["figures"][KEY]["beside_best"]["p"] > 0.05
