from itertools import pairwise

import numpy as np
import pytest

from textssl.sections import ScheduleConfig, TrainConfig
from textssl.training.schedule import Spent, expected_progress, lr_factor, progress


def curve(steps=100, **options):
    config = ScheduleConfig(**options)
    return [lr_factor(config, step, (step + 1) / steps) for step in range(steps)]


def test_warmup_is_linear_by_steps_or_by_share():
    assert curve(name="constant", warmup_steps=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert curve(name="constant", warmup_fraction=0.04)[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert curve(name="constant", warmup_steps=0) == [1.0] * 100


@pytest.mark.parametrize("name", ["linear", "cosine", "wsd"])
def test_decays_end_at_the_final_ratio(name):
    assert curve(name=name, warmup_steps=0)[-1] == pytest.approx(0.0, abs=1e-3)
    assert curve(name=name, warmup_steps=0, final_ratio=0.1)[-1] == pytest.approx(0.1, abs=1e-3)


def test_wsd_is_flat_until_its_decay():
    factors = curve(name="wsd", warmup_steps=0, decay_fraction=0.4)
    assert factors[:60] == [1.0] * 60
    assert factors[79] == pytest.approx(0.5)


def by_middles(steps, **options):
    """As the trainer asks for them."""
    return [lr_factor(ScheduleConfig(**options), step, (step + 0.5) / steps) for step in range(steps)]


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [{"warmup_steps": 7}, {"warmup_fraction": 0.35}, {"warmup_fraction": 0.29}, {}])
@pytest.mark.parametrize("steps", [20, 1000])
def test_the_whole_rate_is_reached_after_the_warmup_and_falls_from_there(name, warmup, steps):
    factors = by_middles(steps, name=name, **warmup)
    top = factors.index(max(factors))
    assert factors[top] == pytest.approx(1.0, abs=1e-12)
    assert top == pytest.approx(warmup.get("warmup_steps", steps * warmup.get("warmup_fraction", 0.05)), abs=1)
    assert all(before < after for before, after in pairwise(factors[: top + 1]))
    assert all(before >= after for before, after in pairwise(factors[top:]))
    assert 0 < factors[-1] < 1 / steps * 2


def test_decays_follow_their_formulas_over_what_is_left():
    after = (np.arange(90) / 90 + 0.5 / 90) - 1 / 90  # the first of 90 steps has the whole rate
    shares = np.maximum(0, after / (1 - 1 / 90))
    for name, shape in (("linear", 1 - shares), ("cosine", (1 + np.cos(np.pi * shares)) / 2)):
        for warmup in ({"warmup_steps": 10}, {"warmup_fraction": 0.1}):
            assert by_middles(100, name=name, **warmup)[10:] == pytest.approx(list(shape))
            lifted = by_middles(100, name=name, final_ratio=0.2, **warmup)[10:]
            assert lifted == pytest.approx(list(0.2 + 0.8 * shape))


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_warmup_longer_than_the_run_never_falls(name):
    assert by_middles(10, name=name, warmup_steps=40) == [(step + 1) / 40 for step in range(10)]
    assert by_middles(10, name=name, warmup_fraction=1.0) == pytest.approx([(step + 0.5) / 10 for step in range(10)])


def test_constant_and_wsd_hold_the_whole_rate():
    for name in ("constant", "wsd"):
        assert by_middles(100, name=name, warmup_fraction=0.1)[10:60] == [1.0] * 50


def test_progress_is_the_first_limit_to_be_reached():
    train = TrainConfig(max_steps=100, max_tokens=1000, max_seconds=10)
    assert progress(train, Spent(10, 500, 1.0)) == 0.5
    assert progress(train, Spent(10, 500, 9.0)) == 0.9
    assert progress(train, Spent(200, 0, 0.0)) == 1.0
    assert expected_progress(train, 50, 10) is None
    assert expected_progress(TrainConfig(max_tokens=1000), 50, 10) == 0.5
