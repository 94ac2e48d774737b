"""What the ranks of a run learn of each other's failures."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from tests.forked import Forked, Ranks
from tests.tiny import make_corpus, tiny_config
from textssl import failing_ranks
from textssl.errors import UserError
from textssl.failing_ranks import ending_together, hear, leave

MEETING = """
import os, signal, sys
import torch
from textssl.distributed import join_processes, rank, sum_over_ranks
from textssl.errors import UserError
from textssl.failing_ranks import naming_absent
join_processes("cpu", 3)
sum_over_ranks([1.0])
if rank() == int(sys.argv[1]):
    print("meeting", flush=True)
    os.kill(os.getpid(), int(sys.argv[2]))
try:
    with naming_absent(3):
        sum_over_ranks([1.0])
except UserError as error:
    print(error, flush=True)
    os._exit(2)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("absent", "number", "named"),
    [(1, signal.SIGSTOP, "rank 1"), (2, signal.SIGKILL, "rank 2"), (0, signal.SIGSTOP, "another rank")],
)
def test_a_rank_that_stands_still_or_has_died_is_named(absent: int, number: int, named: str):
    """The store of this launch is kept by rank 0: without it nobody can say who is missing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        Forked(
            ["-c", MEETING, str(absent), str(int(number))],
            env={**os.environ, **launch, "RANK": str(place), "LOCAL_RANK": str(place)},
        )
        for place in range(3)
    ]
    try:
        for place in {0, 1, 2} - {absent}:
            said, _ = processes[place].communicate(timeout=120)
            assert processes[place].returncode == 2
            assert said.startswith(f"{named} of 3 did not answer for 3 seconds (train.timeout_seconds), or has")
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture
def store(monkeypatch) -> HashStore:
    """Of a world of two; this process is rank 1 of it, and notes how a rank would have been ended."""
    monkeypatch.setattr(failing_ranks, "world_size", lambda: 2)
    monkeypatch.setattr(failing_ranks, "rank", lambda: 1)
    monkeypatch.setattr(failing_ranks, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(failing_ranks, "UNWINDING_SECONDS", 0.2)
    return HashStore()


def listening(store: HashStore, monkeypatch) -> tuple[threading.Thread, threading.Event, list[str | int]]:
    """A rank that looks for errors of others, what ends that, and what it would have said and ended with."""
    left, ended = threading.Event(), []
    monkeypatch.setattr(failing_ranks, "say", ended.append)
    monkeypatch.setattr(failing_ranks, "end_process", lambda code: (ended.append(code), left.set()))
    thread = threading.Thread(target=hear, args=(store, "key", left))
    thread.start()
    return thread, left, ended


def test_a_rank_hears_of_the_error_of_another_one(store, monkeypatch):
    thread, _, ended = listening(store, monkeypatch)
    leave(store, "key", "corpus is not a folder")  # comes back when the other one has heard
    assert store.add("key/heard", 0) == 2
    thread.join(timeout=10)
    said, code = ended
    assert str(said).startswith("error: corpus is not a folder (rank 1 on ") and code == 2


def test_a_rank_that_ends_by_itself_is_left_alone(store, monkeypatch):
    thread, left, ended = listening(store, monkeypatch)
    store.set("key", "the same error on all ranks")
    left.set()
    thread.join(timeout=10)
    assert not thread.is_alive() and not ended
    store.add("key/heard", 1)
    leave(store, "key", "later")
    assert store.get("key") == b"the same error on all ranks"


def test_an_error_of_the_operating_system_is_told_with_its_file(store, monkeypatch):
    monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", lambda: store)
    store.add("textssl/failed/run/heard", 1)  # the other rank has ended too
    with pytest.raises(FileNotFoundError), ending_together("run"):
        Path("/no/such/file").read_bytes()
    said = store.get("textssl/failed/run").decode()
    assert said.startswith("/no/such/file: No such file or directory (rank 1 on ")


def test_one_process_asks_nobody():
    with pytest.raises(UserError, match="wrong"), ending_together("run"):
        raise UserError("wrong")


ONE_IS_WRONG = """
import os, sys
from textssl.cli.app import main
file, wrong, *overrides = sys.argv[1:]
main(["pretrain", file, *(overrides if os.environ["RANK"] == wrong else [])])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "override", "words"),
    [
        (1, "data.corpus={folder}/copy", "copy is not a prepared corpus"),
        (0, "model={{pretrained: {folder}/missing}}", "missing is not a folder"),
    ],
    ids=["corpus", "pretrained"],
)
def test_wrong_input_of_one_rank_ends_all_with_its_words(tmp_path, wrong: int, override: str, words: str):
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm")
    file = Path(config.out).with_suffix(".yaml")
    file.write_text(config.to_yaml())
    ranks = Ranks(["-c", ONE_IS_WRONG, str(file), str(wrong), override.format(folder=tmp_path)], 2)
    _, errors = ranks.communicate(timeout=60)
    assert [rank.returncode for rank in ranks.ranks] == [2, 2], errors
    assert errors.count(words) == 2 and errors.count(f"(rank {wrong} on ") == 1 and "Traceback" not in errors
    assert not list(Path(config.out).glob("*"))
