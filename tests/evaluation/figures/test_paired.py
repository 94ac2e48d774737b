from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, v_measure_score

from textssl.evaluation.figures import paired
from textssl.evaluation.figures.figure import Figure, exact, measured, trained_once, trained_repeatedly
from textssl.evaluation.figures.intervals import Score
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.paired import (
    compare,
    holm,
    mcnemar,
    paired_bootstrap,
    paired_difference,
    paired_jackknife,
    repeated_bootstrap,
)
from textssl.evaluation.figures.repeated import macro_f1_of, of_tables, shares, v_measure_of
from textssl.evaluation.figures.resampling import drawn_counts


def answers(accuracy: float, seed: int, examples: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers and predictions, right with that probability."""
    truth = np.random.default_rng(0).integers(3, size=examples)
    right = np.random.default_rng(seed).random(examples) < accuracy
    return truth, np.where(right, truth, (truth + 1) % 3)


def once(accuracy: float, seed: int) -> Figure:
    return trained_once(*answers(accuracy, seed), train_examples=9, seed=0)


def of_values(values: np.ndarray) -> Figure:
    mean = float(values.mean())
    return measured(Score(mean, mean, mean), "queries", len(values), outcomes=Outcomes.of("mean", values))


def draws_of(skill: np.ndarray, seed: int, examples: int = 300) -> Figure:
    """Four draws of labels: an example is right with the probability that its own and the draw's skill give."""
    rng = np.random.default_rng([seed, 1])
    truth = np.arange(examples) % 3
    right = rng.random((4, examples)) < (skill + rng.normal(0, 0.02, (4, 1))).clip(0, 1)
    return trained_repeatedly(truth, list(np.where(right, truth, (truth + 1) % 3)), 9, 0)


@pytest.mark.slow
def test_equally_good_models_differ_as_rarely_as_p_says(monkeypatch):
    """Draws share their test examples: over draws alone, most such pairs of models would differ."""
    monkeypatch.setattr(paired, "RESAMPLES", 1_000)
    found, by_draws = [], []
    for place in range(60):
        skills = np.random.default_rng(place).beta(0.3, 0.3, (2, 300))  # each model is good at examples of its own
        ours, theirs = draws_of(skills[0], 2 * place), draws_of(skills[1], 2 * place + 1)
        difference = paired_difference(ours, theirs)
        assert difference is not None and difference.test == "paired bootstrap"
        found.append(difference.p)
        by_draws.append(stats.ttest_rel(ours.scores, theirs.scores).pvalue)  # type: ignore
    assert (np.array(found) < 0.05).mean() <= 0.1 and np.quantile(found, 0.5) > 0.3
    assert (np.array(by_draws) < 0.05).mean() > 0.2, "the same differences by a paired t test over the draws"


def test_a_better_model_is_found_better():
    skill = np.random.default_rng(0).beta(2, 2, 300)
    found = paired_difference(draws_of(skill + 0.1, 0), draws_of(skill, 1))
    assert found is not None and found.p < 0.001 and 0 < found.low < found.difference < found.high


def test_repetitions_vary_too():
    """Two models that differ by the luck of their draws alone, each draw the same for all examples."""
    rng = np.random.default_rng(0)
    truth, errors = np.zeros(50, int), []
    for repetitions in (3, 10):
        draws = [np.where(rng.random() < 0.5, truth, 1) for _ in range(2 * repetitions)]
        hits = [np.array([one == truth for one in part]) for part in (draws[::2], draws[1::2])]
        low, high, _ = repeated_bootstrap(shares(hits[0]), shares(hits[1]), 50, repetitions, seed=0)
        gaps = (hits[0] * 1.0 - hits[1]).mean(1)
        errors.append((high - low) / 3.92 / (gaps.std(ddof=1) / repetitions**0.5))
    assert errors == pytest.approx([1, 1], abs=0.25)


@pytest.mark.parametrize("figure", ["shares", "macro_f1", "v_measure"])
def test_figures_on_drawn_examples_are_those_of_scikit_learn(figure):
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=40)
    found = [np.where(rng.random(40) < 0.6, truth, rng.integers(4, size=40)) for _ in range(3)]
    counts = drawn_counts(rng, 5, 40, 40)
    repeated, reference = {
        "shares": (shares(truth == np.array(found)), accuracy_score),
        "macro_f1": (
            of_tables(truth, found, macro_f1_of),
            lambda one, other: f1_score(one, other, average="macro", zero_division=0),  # type: ignore[arg-type]
        ),
        "v_measure": (of_tables(truth, found, v_measure_of), v_measure_score),
    }[figure]
    values = repeated(counts)
    for count, row in zip(counts, values, strict=True):
        drawn = np.repeat(np.arange(40), count)
        assert row == pytest.approx([reference(truth[drawn], one[drawn]) for one in found])


def test_the_v_measure_of_tables_without_entropy():
    tables = np.array([[[4, 0], [0, 0]], [[2, 2], [0, 0]], [[2, 0], [0, 2]]])
    assert v_measure_of(tables).tolist() == pytest.approx([1, 0, 1])


def test_a_handful_of_examples_is_not_compared():
    assert paired_difference(of_values(np.ones(9)), of_values(np.zeros(9))) is None
    assert paired_difference(of_values(np.ones(10)), of_values(np.zeros(10))) is not None


def test_right_and_wrong_answers_are_compared_by_mcnemar():
    ours, theirs = np.random.default_rng(0).random((2, 200)) < [[0.8], [0.7]]
    (_, wrong_right), (right_wrong, _) = confusion_matrix(ours, theirs)
    assert mcnemar(ours, theirs) == pytest.approx(stats.binomtest(right_wrong, right_wrong + wrong_right).pvalue)
    assert mcnemar(ours, theirs) == mcnemar(theirs, ours)


def test_bootstrap_draws_the_same_examples_of_both():
    """So that what both find hard cancels: the interval is that of the differences, not of two lone means."""
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 10, 300)
    gaps = rng.normal(0.2, 1, 300)
    difference = paired_difference(of_values(hard + gaps), of_values(hard))
    assert difference is not None and difference.test == "paired bootstrap"
    expected = stats.t.interval(0.95, 299, loc=gaps.mean(), scale=stats.sem(gaps))
    assert (difference.low, difference.high) == pytest.approx(expected, abs=0.02)
    assert difference.p == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue, abs=0.01)  # type: ignore


def test_smallest_p_of_a_bootstrap_survives_many_comparisons():
    *_, p = paired_bootstrap(lambda counts: np.ones(len(counts)), 5, seed=0)
    assert 100 * p < 0.05


def test_parts_left_out_give_students_interval():
    gaps = np.random.default_rng(1).normal(0.1, 0.05, 10)
    low, high, p = paired_jackknife(1.0, gaps)
    error = np.sqrt(0.9 * ((gaps - gaps.mean()) ** 2).sum())
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 9, loc=1.0, scale=error))
    assert p == pytest.approx(2 * stats.t.sf(1.0 / error, 9))


def test_macro_f1_of_the_same_predictions_is_compared_too():
    truth, predicted = answers(0.8, 1)
    _, other = answers(0.7, 2)
    found = paired_difference(trained_once(truth, predicted, 9, 0), trained_once(truth, other, 9, 0))
    assert found is not None and found.macro_f1 is not None
    expected = f1_score(truth, predicted, average="macro") - f1_score(truth, other, average="macro")
    assert found.macro_f1.difference == pytest.approx(expected)
    assert found.macro_f1.low < expected < found.macro_f1.high and found.macro_f1.p < 0.05
    assert (found.test, found.macro_f1.test) == ("McNemar", "paired bootstrap")
    draws = [answers(0.8, seed)[1] for seed in range(4)]
    others = [answers(0.7, seed + 9)[1] for seed in range(4)]
    repeated = paired_difference(trained_repeatedly(truth, draws, 9, 0), trained_repeatedly(truth, others, 9, 0))
    assert repeated is not None and repeated.macro_f1 is not None
    assert repeated.test == repeated.macro_f1.test == "paired bootstrap" and repeated.p < 0.05
    expected = np.mean([f1_score(truth, one, average="macro") for one in draws])
    expected -= np.mean([f1_score(truth, one, average="macro") for one in others])
    assert repeated.macro_f1.difference == pytest.approx(expected)
    assert repeated.macro_f1.low < expected < repeated.macro_f1.high
    assert set(repeated.as_dict()["macro_f1"]) == {"difference", "low", "high", "p", "test", "p_holm"}


def test_a_model_against_itself_differs_nowhere():
    values = np.random.default_rng(0).random(50)
    figures = {
        "once": once(0.8, 1),
        "values": of_values(values),
        "draws": draws_of(np.full(300, 0.5), 0),
        "parts": measured(Score(2, 1, 3), "texts", 50, outcomes=Outcomes("parts", 50, (values,))),
        "rank": measured(
            Score(0.5, 0.4, 0.6),
            "pairs",
            50,
            outcomes=Outcomes.of("spearman", values, values**2 + values[::-1]),
        ),
    }
    found = compare({"task": figures}, {"task": figures})["task"]
    assert found.keys() == figures.keys()
    assert {(one.difference, one.low, one.high, one.p, one.p_holm) for one in found.values()} == {(0, 0, 0, 1, 1)}


def test_figures_of_one_model_alone_and_exact_ones_are_not_compared():
    ours = {"a": {"x": once(0.8, 1), "chance": exact(0.5, 9)}, "b": {"x": once(0.8, 1)}}
    assert {task: list(found) for task, found in compare(ours, {"a": ours["a"]}).items()} == {"a": ["x"]}


def test_adjusted_p_are_those_of_holm():
    # the example of Holm 1979 by hand: 0.01 * 4, 0.02 * 3, then the larger of what came before
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    ours = {"task": {"good": once(0.9, 1), "even": once(0.7, 2), "worse": once(0.6, 3)}}
    theirs = {"task": {"good": once(0.7, 4), "even": once(0.7, 5), "worse": once(0.7, 6)}}
    found = compare(ours, theirs)["task"]
    expected = holm(np.array([one.p for one in found.values()]))
    assert [one.p_holm for one in found.values()] == pytest.approx(expected)
    assert found["good"].p_holm is not None and found["good"].p < found["good"].p_holm < 0.001
    assert found["good"].difference > 0 > found["worse"].difference


def test_outcomes_are_never_written():
    plain = once(0.8, 1).as_dict()
    assert not {"outcomes", "f1_outcomes"} & plain.keys() and plain["macro_f1"].keys() == {"mean", "low", "high"}
    assert "outcomes" not in of_values(np.ones(3)).as_dict()
