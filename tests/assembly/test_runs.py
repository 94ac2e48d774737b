"""One run a folder, its kernels and its threads."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from tests.labelled import finetune_config
from tests.tiny import make_corpus, tiny_config
from tests.training.kills import checkpoints, finish, start
from textssl.assembly.computing import deterministic
from textssl.assembly.resolution import seen_here
from textssl.assembly.runs import check_shared, find_run, held_run, start_accelerator, take_run
from textssl.commands.finetune import finetune
from textssl.commands.pretrain import pretrain
from textssl.config import parse_config
from textssl.errors import UserError
from textssl.system import threads
from textssl.system.locks.lock import NAME, hold

GPU = torch.device("cuda")  # as a name: nothing here touches one


def test_deterministic_kernels_are_asked_for_and_given_back():
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(False):
        assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(KeyError), deterministic(True):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_deterministic_run_says_so_to_cublas_before_its_first_product(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    start_accelerator(parse_config({"train": {"device": "cpu"}}))
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    start_accelerator(parse_config({"train": {"device": "cpu", "deterministic": True}}))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_a_second_run_in_a_folder_is_refused_untouched(tmp_path):
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm", "train.max_steps=1")
    with held_run(config):
        before = os.listdir(config.out)
        with pytest.raises(UserError, match=rf"out=.*run is in use by process {os.getpid()} on .*another out"):
            pretrain(config)
        assert os.listdir(config.out) == before == [NAME]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).touch()  # a killed run left it before it had a configuration
    assert pretrain(config).steps == 1
    assert not (tmp_path / "run" / NAME).exists()


def test_runs_of_labels_restarts_and_seeds_share_the_lock(tmp_path):
    config = finetune_config(tmp_path)
    run = Path(config.out)
    with hold(run / NAME, "run", "out"):
        for place in (run, run / "restart-1", run / "seed-0"):
            config.out = str(place)
            with pytest.raises(UserError, match="is in use by process"):
                finetune(config)
    (run / "seed-0").mkdir(parents=True)
    (run / "seed-0" / "config.yaml").touch()
    config.out = str(run)
    with hold(run / "seed-0" / NAME, "seed", "out"), pytest.raises(UserError, match="seed-0 is in use by"):
        finetune(config)


def test_after_a_kill_the_next_run_starts_at_once_though_loader_workers_are_still_there(tmp_path):
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm", "train.max_steps=100000", "train.checkpoint_every=2", "train.workers=2")
    process = start(config)
    while not checkpoints(config.out):
        assert process.poll() is None
        time.sleep(0.01)
    try:
        with pytest.raises(UserError, match=f"in use by process {process.pid} on .*textssl pretrain"):
            pretrain(config)
        process.kill()  # the process alone; its workers look for it every few seconds
        process.wait()
        with held_run(config):
            assert (tmp_path / "run" / NAME).is_file()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.slow
def test_every_rank_is_told_of_a_refusal(tmp_path):
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm", "train.max_steps=1")
    with held_run(config):
        process = start(config, processes=2)
        _, errors = process.communicate(timeout=120)
        assert process.returncode != 0
        assert errors.count("is in use by process") == 2
    assert finish(start(config, processes=2)) == 0


@pytest.mark.slow
def test_a_resumed_run_keeps_its_number_of_threads(tmp_path, monkeypatch, capsys):
    """On a machine with fewer cores too; who asks for another number is told what that changes."""
    make_corpus(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores, before = [threads.Threads(2, "of 2 cores")], torch.get_num_threads()
    monkeypatch.setattr(threads, "threads_of_cores", lambda: cores[0])
    schedule = "schedule={name: constant, warmup_steps: 1}"

    def run(steps: int, *given: str) -> tuple[int, str]:
        pretrain(tiny_config(tmp_path, "mlm", schedule, f"train.max_steps={steps}", *given))
        return torch.get_num_threads(), capsys.readouterr().err

    try:
        count, said = run(2)
        assert count == 2 and "training with 2 compute threads (of 2 cores)" in said
        cores[0] = threads.Threads(1, "of 1 core")
        count, said = run(3)
        assert count == 2 and "training with 2 compute threads (as in the start before)" in said
        count, said = run(4, "train.threads=1")
        assert count == 1 and "had 2 compute threads so far" in " ".join(said.split())
        assert run(5)[0] == 1, "as in the last start"
    finally:
        threads.use(threads.Threads(before, "as before"))


def test_a_rank_that_does_not_see_the_first_ones_lock_says_so(tmp_path):
    run, words = tmp_path / "run", "rank 0 on .* does not see .*: put out on a file system that all"
    with ExitStack() as stack:
        token = take_run(run, stack)
        check_shared(run, token)
        with pytest.raises(UserError, match=words):
            check_shared(tmp_path / "elsewhere", token)
        stale = (run / NAME).read_text().replace(token, "0123456789abcdef")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / NAME).write_text(stale)  # of a run before, on a disk of this host's own
    with pytest.raises(UserError, match=words):
        check_shared(tmp_path / "elsewhere", token)


def test_each_rank_has_the_run_where_it_sees_it(tmp_path, monkeypatch):
    """The first rank may have the shared disk at another place."""
    config = tiny_config(tmp_path, "mlm", "train.resume=restart")
    (Path(config.out) / "checkpoints" / "step-00000001").mkdir(parents=True)
    (Path(config.out) / "config.yaml").write_text(config.to_yaml())
    assert seen_here(config, find_run) == Path(config.out) / "restart-1"
    other = config.unfrozen()
    other.out = str(tmp_path / "mounted elsewhere")
    found = find_run(config).relative_to(config.out)
    monkeypatch.setattr("textssl.assembly.resolution.from_first_rank", lambda make: found)
    assert seen_here(other, find_run) == tmp_path / "mounted elsewhere" / "restart-1"
    assert not Path(other.out).exists()
