"""Which checkpoint is the best: improvement, ties, patience, figures that are better when lower."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from textssl.errors import UserError
from textssl.evaluation.figures.figure import METRICS
from textssl.evaluation.figures.supervised import CLASSIFICATION, REGRESSION
from textssl.training import checkpoint
from textssl.training.evaluations import LOWER_IS_BETTER, Best, Evaluation, better, restore_best


def look(best: Best, *values: float, start: int = 0) -> list[bool]:
    return [best.look({str(best.figure): value}, start + place) for place, value in enumerate(values)]


@pytest.mark.parametrize("name", ["eval/accuracy", "eval/spearman", "eval/topics/probe_8"])
def test_higher_is_better(name):
    best = Best(name)
    assert look(best, 0.2, 0.5, 0.4, 0.6) == [True, True, False, True]
    assert best.summary() == {"figure": name, "value": 0.6, "step": 3}


@pytest.mark.parametrize("name", [f"eval/{last}" for last in LOWER_IS_BETTER] + ["eval/text/bits_per_byte"])
def test_lower_is_better_for_errors(name):
    best = Best(name)
    assert look(best, 0.5, 0.2, 0.3, 0.1) == [True, True, False, True]
    assert best.summary() == {"figure": name, "value": 0.1, "step": 3}


@pytest.mark.parametrize("name", sorted({*CLASSIFICATION, *REGRESSION}))
def test_figures_of_fine_tuning_have_their_direction(name):
    errors = {"calibration_error", "loss", "mse", "mae"}
    assert better(f"eval/{name}", 0.2, 0.1) == (name not in errors)


@pytest.mark.parametrize("term", ["mlm", "crops", "causal", "detector", "my_own"])
def test_a_term_of_the_held_out_loss_is_better_when_lower(term):
    best = Best(f"eval/{term}", patience=2)
    assert look(best, 7.0, 5.0, 6.0, 5.5) == [True, True, False, False]
    assert best.step == 1 and best.exhausted


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.sampled_from(["eval/macro_f1", "eval/loss"]))
def test_the_best_is_the_extreme_and_the_first_of_equal_ones(values, name):
    best = Best(name)
    look(best, *values)
    extreme = min(values) if name == "eval/loss" else max(values)
    assert best.summary() == {"figure": name, "value": extreme, "step": values.index(extreme)}


def test_what_is_not_a_number_is_worse_than_any():
    assert (
        not better("eval/macro_f1", math.nan, 0.1)
        and better("eval/macro_f1", 0.1, math.nan)
        and better("eval/loss", 9.0, math.nan)
    )
    assert not better("eval/macro_f1", math.nan, math.nan)
    best = Best("eval/macro_f1")
    assert look(best, math.nan, math.nan, 0.1, math.nan) == [True, False, True, False]
    assert best.step == 2


def test_of_equal_figures_the_lower_loss_wins_and_patience_goes_on():
    best = Best("eval/macro_f1", patience=2)
    assert best.look({"eval/macro_f1": 0.5, "eval/loss": 1.0}, 1)
    assert best.look({"eval/macro_f1": 0.5, "eval/loss": 0.9}, 2) and best.stale == 1
    assert not best.look({"eval/macro_f1": 0.5, "eval/loss": 0.9}, 3) and best.exhausted
    assert best.step == 2 and best.figures["eval/loss"] == 0.9
    assert best.look({"eval/macro_f1": 0.6, "eval/loss": 5.0}, 4) and best.stale == 0 and not best.exhausted


def test_patience_counts_evaluations_since_the_best():
    best = Best("eval/macro_f1", patience=2)
    ended = []
    for step, value in enumerate([0.1, 0.2, 0.1, 0.3, 0.2, 0.1]):
        best.look({"eval/macro_f1": value}, step)
        ended.append(best.exhausted)
    assert ended == [False] * 5 + [True]
    endless = Best("eval/macro_f1")
    look(endless, *([0.0] * 50))
    assert not endless.exhausted


def test_figures_without_the_one_do_not_count():
    best = Best("eval/macro_f1", patience=1)
    look(best, 0.5)
    assert not best.look({"eval/other": 9.0}, 1) and best.stale == 0 and best.step == 0
    nothing = Best(None, patience=1)
    assert not nothing.look({"eval/macro_f1": 1.0}, 1) and nothing.summary() is None and not nothing.exhausted


def test_a_saved_state_goes_on_where_it_was():
    values = [0.1, 0.4, 0.3, 0.4, 0.2]
    whole, first, second = (Best("eval/macro_f1", 3) for _ in range(3))
    look(whole, *values)
    look(first, *values[:3])
    assert second.restore(json.loads(json.dumps(first.state())), ended=False) is None
    look(second, *values[3:], start=3)
    assert second == whole and whole.exhausted
    other = Best("loss", 3)
    assert "this run chose by eval/macro_f1 so far" in str(other.restore(first.state(), ended=False))
    assert "this run kept its last weights so far" in str(other.restore(None, ended=False))
    assert other == Best("loss", 3), "another figure was looked at"
    with pytest.raises(UserError, match=r"has ended and chose by eval/macro_f1; evaluation\.best=loss comes too late"):
        other.restore(first.state(), ended=True)
    assert Best(None).restore(first.state(), ended=True) is None


def test_a_figure_that_no_evaluation_gives_is_named_once_all_have_run():
    runs = [Evaluation(dict, 4, "eval/loss"), Evaluation(dict, None, "eval/probe_8")]
    assert [step for step in range(1, 13) if runs[0].due(step)] == [4, 8, 12]
    assert not any(runs[1].due(step) for step in range(20))
    seen = {"eval/loss", "eval/accuracy", "eval/seconds"}
    best = Best("eval/macro_f1")
    runs[0].ran = True
    best.check(seen, runs)
    runs[1].ran = True
    with pytest.raises(UserError, match=r"evaluation\.best is eval/macro_f1, but .* are eval/accuracy, eval/loss$"):
        best.check(seen, runs)
    with pytest.raises(UserError, match="are none"):
        best.check(set(), runs)
    best.check({*seen, "eval/macro_f1"}, runs)
    Best(None).check(seen, runs)


def test_what_an_evaluation_calls_less_is_better_is_chosen_so():
    falling = {name for name, metric in METRICS.items() if metric.less_is_better}
    assert "pseudo_bits_per_byte" in falling and "spearman" not in falling
    for name in METRICS:
        geometry = name in ("alignment", "uniformity")
        assert better(f"eval/task/{name}", 1.0, 2.0) == (name in falling or geometry), name


def test_the_best_weights_come_back_and_a_broken_checkpoint_is_named(tmp_path):
    module = nn.Linear(2, 2)
    best = Best("eval/macro_f1")
    look(best, 0.25, start=7)
    folder = checkpoint.step_folder(tmp_path, 7)
    with pytest.raises(UserError, match=r"the best checkpoint .*step-00000007 is broken .*train\.resume=restart"):
        restore_best(best, tmp_path, module)
    checkpoint.save_checkpoint(tmp_path, 7, module, [], {}, keep=1)
    saved = module.weight.detach().clone()
    with torch.no_grad():
        module.weight.add_(1.0)
    assert restore_best(best, tmp_path, module) == "taking the weights of step 7, the best by eval/macro_f1 0.2500"
    assert torch.equal(module.weight, saved)
    (folder / checkpoint.WEIGHTS).write_bytes(b"cut")
    with pytest.raises(UserError, match=r"broken \(objective\.safetensors has another sha256"):
        restore_best(best, tmp_path, module)
    assert torch.equal(module.weight, saved)


@pytest.mark.parametrize("manifest", ["[]", "[1, 2]", '{"sha256": []}', '{"sha256": 3}', "{}", "null", "[" * 100_000])
def test_a_checkpoint_whose_manifest_is_something_else_is_broken(tmp_path, manifest):
    (tmp_path / checkpoint.MANIFEST).write_text(manifest)
    assert checkpoint.broken(tmp_path)
