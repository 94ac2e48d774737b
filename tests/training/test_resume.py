"""A run that is killed, stopped or cut in two ends with the bytes of an unbroken one."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.tiny import make_corpus, tiny_config
from tests.training.kills import break_and_finish, checkpoints, digest, finish, losses, start
from textssl.errors import UserError
from textssl.training.checkpoint import newest_checkpoint
from textssl.workflows.pretrain import pretrain

DROPOUT = "model.dropout=0.1"  # so that torch's generators matter too


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    make_corpus(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("objective, workers", [("mlm", 0), ("clm", 2)])
def test_killed_runs_end_with_the_same_bytes(folder, objective, workers):
    options = ("train.max_steps=120", "train.checkpoint_every=15", DROPOUT, f"train.workers={workers}")
    whole = tiny_config(folder, objective, *options, out=f"whole-{objective}")
    finish(start(whole))
    config = tiny_config(folder, objective, *options, out=f"killed-{objective}")
    broken = break_and_finish(config, Path(whole.out), kills=2, seed=0)
    assert broken.kills >= 1
    assert broken.resumed_from and min(broken.resumed_from) > 0
    assert broken.same_bytes and broken.same_metrics


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_saves_and_exits_with_75(folder, name):
    options = ("train.max_steps=60", "train.checkpoint_every=null", DROPOUT)
    config = tiny_config(folder, "mlm", *options, "train.max_steps=100000", out=f"signal-{name}")
    process = start(config)
    while not Path(config.out, "metrics.jsonl").exists() or not losses(Path(config.out)):
        time.sleep(0.01)
        assert process.poll() is None
    os.kill(process.pid, getattr(signal, name))
    assert finish(process) == 75
    summary = json.loads(Path(config.out, "summary.json").read_text())
    assert summary["stopped_by"] == name and summary["steps"] > 0
    assert checkpoints(config.out) == [f"step-{summary['steps']:08d}"]
    longer = summary["steps"] + 5
    again = pretrain(tiny_config(folder, "mlm", DROPOUT, f"train.max_steps={longer}", out=f"signal-{name}"))
    assert again.resumed_from == [summary["steps"]] and again.stopped_by is None and again.steps == longer


def test_workers_change_nothing(folder):
    for workers in (0, 2):
        pretrain(tiny_config(folder, "mlm", f"train.workers={workers}", DROPOUT, out=f"workers-{workers}"))
    assert digest(folder / "workers-0") == digest(folder / "workers-2")


@pytest.mark.parametrize("objective", ["mlm", "tests.objectives.contrastive:TwoCrops"])
def test_a_run_in_two_halves_equals_a_whole_one(folder, objective):
    name = objective[-4:]
    constant = "schedule={name: constant, warmup_steps: 3}"
    pretrain(tiny_config(folder, objective, DROPOUT, constant, out=f"one-{name}"))
    pretrain(tiny_config(folder, objective, DROPOUT, constant, "train.max_steps=11", out=f"two-{name}"))
    summary = pretrain(tiny_config(folder, objective, DROPOUT, constant, out=f"two-{name}"))
    assert summary.resumed_from == [11]
    assert digest(folder / f"one-{name}") == digest(folder / f"two-{name}")
    assert losses(folder / f"one-{name}") == losses(folder / f"two-{name}")


def test_a_broken_checkpoint_is_named_and_the_one_before_is_used(folder, capsys):
    options = ("train.keep_checkpoints=4", DROPOUT)
    pretrain(tiny_config(folder, "mlm", *options, out="damaged"))
    expected = digest(folder / "damaged")
    newest = newest_checkpoint(folder / "damaged" / "checkpoints")
    assert newest and newest.name == "step-00000020"
    weights = newest / "objective.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    summary = pretrain(tiny_config(folder, "mlm", *options, out="damaged"))
    assert "step-00000020 is broken" in " ".join(capsys.readouterr().err.split())
    assert summary.resumed_from == [15]
    assert digest(folder / "damaged") == expected


def test_a_finished_run_is_left_as_it_is(folder):
    first = pretrain(tiny_config(folder, out="finished"))
    before = digest(folder / "finished")
    second = pretrain(tiny_config(folder, out="finished"))
    assert digest(folder / "finished") == before
    assert (first.steps, first.tokens, second.resumed_from) == (second.steps, second.tokens, [])


def test_only_what_changes_no_step_may_differ(folder):
    pretrain(tiny_config(folder, "mlm", "train.max_steps=10", out="changed"))
    with pytest.raises(UserError, match=r"objective\.mask_rate, optimizer\.lr"):
        pretrain(tiny_config(folder, "mlm", "objective.mask_rate=0.2", "optimizer.lr=1e-3", out="changed"))
    with pytest.raises(UserError, match="never"):
        pretrain(tiny_config(folder, "mlm", "train.resume=never", out="changed"))
    free = ("train.log_every=2", "train.micro_batch_size=4", "train.workers=1", "evaluation.every=6")
    assert pretrain(tiny_config(folder, "mlm", *free, out="changed")).resumed_from == [10]
    anew = pretrain(tiny_config(folder, "mlm", "objective.mask_rate=0.2", "train.resume=restart", out="changed"))
    assert anew.resumed_from == [] and Path(anew.run) == folder / "changed" / "restart-1"
