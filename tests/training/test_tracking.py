"""Curves for TensorBoard: the figures of metrics.jsonl, and what is said where tensorboard is not installed."""

from __future__ import annotations

import json

import pytest

from tests.tiny import make_corpus, tiny_config
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.training.tracking import check_tensorboard


def test_tensorboard_shows_the_figures_of_metrics_jsonl(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make_corpus(tmp_path)
    pretrain(tiny_config(tmp_path, "mlm", "train.max_steps=3", "train.tensorboard=true"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    shown = {event.step: event.value for event in curves.Scalars("train/loss")}
    assert len(shown) == 3
    assert shown == pytest.approx({line["step"]: line["train/loss"] for line in lines if "train/loss" in line})


def test_a_missing_tensorboard_is_named_with_the_extra_that_has_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"train\.tensorboard needs tensorboard: .* extra `track`"):
        check_tensorboard()
