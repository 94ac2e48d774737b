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


def test_progress_is_the_first_limit_to_be_reached():
    train = TrainConfig(max_steps=100, max_tokens=1000, max_seconds=10)
    assert progress(train, Spent(10, 500, 1.0)) == 0.5
    assert progress(train, Spent(10, 500, 9.0)) == 0.9
    assert progress(train, Spent(200, 0, 0.0)) == 1.0
    assert expected_progress(train, 50, 10) is None
    assert expected_progress(TrainConfig(max_tokens=1000), 50, 10) == 0.5
