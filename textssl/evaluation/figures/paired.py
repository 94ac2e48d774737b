"""Two models on the same examples: the difference of each figure, its 95 % interval and its p-value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy import stats

from textssl.evaluation.figures.figure import Accuracy, Figure
from textssl.evaluation.figures.intervals import jackknife_error, percentiles
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.repeated import Repeated
from textssl.evaluation.figures.resampling import Statistic, drawn_counts, mean_of, resampled

AT_ONCE = 100  # resamples of figures with repetitions
FEWEST = 10  # examples on which two models are compared
RESAMPLES = 10_000  # the smallest p of a bootstrap is 2 / (RESAMPLES + 1), which must survive many comparisons


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much higher a figure of one model is than that of another, with the 95 % interval [low, high].

    p: how likely a difference at least as large is, either way, where both models are equally good. p_holm: adjusted
    for the number of figures that were compared (Holm 1979, filled in by `compare`). test: how p was found.
    """

    difference: float
    low: float
    high: float
    p: float
    test: str
    p_holm: float | None = None
    macro_f1: Difference | None = None

    def as_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        if self.macro_f1 is None:
            del plain["macro_f1"]
        else:
            del plain["macro_f1"]["macro_f1"]
        return plain


def compare(
    ours: Mapping[str, Mapping[str, Figure]], theirs: Mapping[str, Mapping[str, Figure]], seed: int = 0
) -> dict[str, dict[str, Difference]]:
    """{task: {figure: ours - theirs}} of all figures that both models have, p adjusted for all of them together.

    Macro F1 says little that the accuracy of the same predictions does not; the two are adjusted separately.
    """
    found = {task: task_differences(figures, theirs.get(task, {}), seed) for task, figures in ours.items()}
    return adjusted({task: figures for task, figures in found.items() if figures})


def task_differences(
    ours: Mapping[str, Figure], theirs: Mapping[str, Figure], seed: int = 0, *, macro_f1: bool = True
) -> dict[str, Difference]:
    """{figure: ours - theirs} of one task, p not adjusted. macro_f1: also that of accuracies, which is slow."""
    shared = {name: figure for name, figure in ours.items() if name in theirs}
    found = {name: paired_difference(figure, theirs[name], seed, macro_f1=macro_f1) for name, figure in shared.items()}
    return {name: difference for name, difference in found.items() if difference is not None}


def difference_of(values: Mapping[str, Any]) -> Difference:
    """The difference that `as_dict` gave these values."""
    f1 = values.get("macro_f1")
    return Difference(**{**values, "macro_f1": None if f1 is None else Difference(**f1)})


def paired_difference(ours: Figure, theirs: Figure, seed: int = 0, *, macro_f1: bool = True) -> Difference | None:
    """The difference of one figure, from the outcomes of the same examples or repetitions; None where there are none.

    Right or wrong on test examples: McNemar's exact test, the interval from a bootstrap. Other figures of examples: a
    paired bootstrap; where there are repetitions (draws of labels, starts), of both. Figures of pairs of texts: a
    paired jackknife. None, too, for fewer than FEWEST examples, from which resampling can tell nothing.
    """
    if ours.outcomes is None or theirs.outcomes is None or ours.outcomes.examples < FEWEST:
        return None
    found = outcome_difference(ours.outcomes, theirs.outcomes, ours.mean - theirs.mean, seed)
    if not (macro_f1 and isinstance(ours, Accuracy) and isinstance(theirs, Accuracy)):
        return found
    if ours.f1_outcomes is None or theirs.f1_outcomes is None:
        return found
    gap = ours.macro_f1.mean - theirs.macro_f1.mean
    return replace(found, macro_f1=outcome_difference(ours.f1_outcomes, theirs.f1_outcomes, gap, seed))


def outcome_difference(ours: Outcomes, theirs: Outcomes, difference: float, seed: int = 0) -> Difference:
    """Whether a difference of two figures, ours - theirs, is more than chance; p not adjusted."""
    assert (ours.measure, ours.examples, ours.repetitions) == (theirs.measure, theirs.examples, theirs.repetitions), (
        "both models answer the same"
    )

    def found(low: float, high: float, p: float, test: str) -> Difference:
        return Difference(difference=difference, low=low, high=high, p=p, test=test)

    of_draws = ours.repeated, theirs.repeated
    if of_draws[0] is not None and of_draws[1] is not None:
        both = repeated_bootstrap(of_draws[0], of_draws[1], ours.examples, ours.repetitions, seed)
        return found(*both, "paired bootstrap")
    if ours.values is not None and theirs.values is not None:
        gaps = ours.values.astype(np.float64) - theirs.values
        low, high, p = paired_bootstrap(mean_of(gaps), len(gaps), seed)
        if ours.values.dtype == theirs.values.dtype == bool:
            return found(low, high, mcnemar(ours.values, theirs.values), "McNemar")
        return found(low, high, p, "paired bootstrap")
    if ours.left_out is not None and theirs.left_out is not None:
        return found(*paired_jackknife(difference, ours.left_out - theirs.left_out), "paired jackknife")
    first, second = ours.statistic, theirs.statistic
    assert first is not None and second is not None, "figures of one kind"
    both = paired_bootstrap(lambda counts: first(counts) - second(counts), ours.examples, seed)
    return found(*both, "paired bootstrap")


def paired_jackknife(difference: float, gaps: np.ndarray) -> tuple[float, float, float]:
    """Student's 95 % interval of a difference whose (parts,) values without each part are `gaps`, and the two-sided p
    of its being 0.
    """
    error, freedom = jackknife_error(gaps), len(gaps) - 1
    if error <= 1e-12 * max(1.0, abs(difference)):  # up to rounding, every part says the same
        return difference, difference, 1.0 if abs(difference) <= 1e-12 else 0.0
    half = float(stats.t.ppf(0.975, freedom)) * error
    return difference - half, difference + half, float(2 * stats.t.sf(abs(difference) / error, freedom))


def paired_bootstrap(gap: Statistic, examples: int, seed: int) -> tuple[float, float, float]:
    """95 % percentile interval of a difference on examples drawn with replacement, the same for both models, and p from
    the share beyond 0."""
    return _from_resamples(resampled(gap, examples, RESAMPLES, seed))


def repeated_bootstrap(
    ours: Repeated, theirs: Repeated, examples: int, repetitions: int, seed: int
) -> tuple[float, float, float]:
    """The same for figures that are means over repetitions, such as draws of few labels; these are resampled as well.

    Repetitions share their test examples, and draws from one training set share labels, so they are not independent
    measurements: a t test over them finds differences between models that are equally good. One repetition fewer than
    there are is drawn, which corrects the variance for so few (Rao and Wu 1988, JASA 83).
    """
    rng, gaps = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // AT_ONCE):
        counts = drawn_counts(rng, AT_ONCE, examples, examples)
        of_each = ours(counts) - theirs(counts)
        if repetitions > 1:
            of_each = of_each * drawn_counts(rng, AT_ONCE, repetitions, repetitions - 1) / (repetitions - 1)
        gaps.append(of_each.sum(1))
    return _from_resamples(np.concatenate(gaps))


def _from_resamples(gaps: np.ndarray) -> tuple[float, float, float]:
    rounding = 1e-12  # sums in another order: a model against itself differs by so much
    below, above = (gaps <= rounding).sum(), (gaps >= -rounding).sum()
    p = 2 * (min(below, above) + 1) / (len(gaps) + 1)
    return (*percentiles(gaps), float(min(p, 1.0)))


def mcnemar(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Two-sided p of McNemar's exact test: of the examples that only one model gets right, half are expected."""
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    if only_ours + only_theirs == 0:
        return 1.0
    return float(stats.binomtest(only_ours, only_ours + only_theirs).pvalue)


def holm(values: np.ndarray) -> np.ndarray:
    """p-values adjusted for their number (Holm 1979): the chance of even one false finding stays below the level."""
    order = np.argsort(values, kind="stable")
    factors = len(values) - np.arange(len(values))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def adjusted(found: dict[str, dict[str, Difference]]) -> dict[str, dict[str, Difference]]:
    """{task: {figure: Difference}} with p adjusted for their number."""
    every = [difference for figures in found.values() for difference in figures.values()]
    main = _holm_of([difference.p for difference in every])
    f1 = _holm_of([difference.macro_f1.p for difference in every if difference.macro_f1 is not None])

    def adjust(difference: Difference) -> Difference:
        of_f1 = difference.macro_f1 and replace(difference.macro_f1, p_holm=f1[difference.macro_f1.p])
        return replace(difference, p_holm=main[difference.p], macro_f1=of_f1)

    return {task: {name: adjust(one) for name, one in figures.items()} for task, figures in found.items()}


def _holm_of(values: list[float]) -> dict[float, float]:
    return dict(zip(values, holm(np.array(values)).tolist(), strict=True))  # equal values have equal ones
