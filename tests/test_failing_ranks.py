"""What the ranks of a run learn of each other's failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from torch._C._distributed_c10d import HashStore

from tests.forked import Forked, Ranks
from tests.tiny import make_corpus, texts, tiny_config, write_corpus
from textssl import failing_ranks
from textssl.commands.pretrain import pretrain
from textssl.errors import UserError
from textssl.failing_ranks import LEFT, Signs, ending_together, hear, leave, tell

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


STANDING = """
import os, signal, sys, time
from textssl.distributed import join_processes, rank, sum_over_ranks
from textssl.failing_ranks import ending_together
join_processes("cpu", 600)
with ending_together("run", 15):
    sum_over_ranks([1.0])
    if rank() == 1:
        os.kill(os.getpid(), int(sys.argv[1]))
    time.sleep(600)  # as a call does that waits for the others, and that nothing interrupts
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_rank_without_a_sign_is_named_by_those_that_cannot_be_interrupted(number: int):
    began, ranks = time.monotonic(), Ranks(["-c", STANDING, str(int(number))], 3)
    for place in (0, 2):
        ranks.ranks[place].wait(timeout=60)
    assert time.monotonic() - began < 30
    ranks.ranks[1].kill()
    _, errors = ranks.communicate(timeout=60)
    assert [rank.returncode for rank in ranks.ranks] == [2, -signal.SIGKILL, 2], errors
    assert errors.count("error: rank 1 of 3 did not answer for 15 seconds (train.timeout_seconds), or has ended") == 2


@pytest.fixture
def store(monkeypatch) -> HashStore:
    """Of a world of two; this process is rank 1 of it, and notes how a rank would have been ended."""
    monkeypatch.setattr(failing_ranks, "launched_world", lambda: 2)
    monkeypatch.setattr(failing_ranks, "launched_rank", lambda: 1)
    monkeypatch.setattr(failing_ranks, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(failing_ranks, "UNWINDING_SECONDS", 0.2)
    return HashStore()


def listening(
    store: HashStore, monkeypatch, signs: Signs | None = None, key: str = "key"
) -> tuple[threading.Thread, threading.Event, list[str | int]]:
    """A rank that looks for errors of others, what ends that, and what it would have said and ended with."""
    left, ended = threading.Event(), []
    monkeypatch.setattr(failing_ranks, "say", ended.append)
    monkeypatch.setattr(failing_ranks, "end_process", lambda code: (ended.append(code), left.set()))
    thread = threading.Thread(target=hear, args=(lambda: store, key, left, threading.Event(), signs))
    thread.start()
    return thread, left, ended


def test_a_rank_hears_of_the_error_of_another_one(store, monkeypatch):
    thread, _, ended = listening(store, monkeypatch)
    leave(store, "key", "corpus is not a folder")  # comes back when the other one has heard
    thread.join(timeout=10)
    said, code = ended
    assert str(said).startswith("error: corpus is not a folder (rank 1 on ") and code == 2
    assert not store.check(["key"])  # another attempt of the launch would end with it


def test_a_rank_that_ends_by_itself_is_left_alone(store, monkeypatch):
    thread, left, ended = listening(store, monkeypatch)
    tell(store, "key", "the same error on all ranks")
    left.set()
    thread.join(timeout=10)
    assert not thread.is_alive() and not ended
    tell(store, "key", "later")
    assert b" the same error on all ranks (rank 1 on " in store.get("key")


def silent_after(monkeypatch, seconds: float) -> Signs:
    monkeypatch.setattr(failing_ranks, "REPORT_SECONDS", seconds)
    return Signs("alive", seconds)


def test_a_rank_without_signs_of_life_is_missing(store, monkeypatch):
    """Before its first sign and after its last one."""
    monkeypatch.setattr(failing_ranks, "leave", lambda store, key: store.delete_key(key))
    for seen in ("", "7"):
        if seen:
            store.set("alive/0", seen)
        thread, left, ended = listening(store, monkeypatch, silent_after(monkeypatch, 0.2))
        thread.join(timeout=10)
        assert not thread.is_alive() and ended[1] == 2
        assert str(ended[0]).startswith("error: rank 0 of 2 did not answer for 0.2 seconds (train.timeout_seconds), or")
        assert left.is_set() and not store.check(["key"]) and int(store.get("alive/1")) > 2


@pytest.mark.parametrize("sign", ["new", LEFT])
def test_a_rank_that_lives_or_has_ended_well_is_not_missing(store, monkeypatch, sign: str):
    """The second rank of two, which has ended well itself when the other one still looks at it."""
    signs = silent_after(monkeypatch, 0.3)
    thread, left, ended = listening(store, monkeypatch, signs)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        store.set("alive/0", str(time.monotonic()) if sign == "new" else sign)
        time.sleep(0.02)
    signs.ended_well = True
    left.set()
    thread.join(timeout=10)
    assert not thread.is_alive() and not ended and store.get("alive/1").decode() == LEFT


def test_an_error_of_the_operating_system_is_told_with_its_file(store, monkeypatch):
    monkeypatch.setattr(failing_ranks, "store_of_launch", lambda: store)
    thread, _, ended = listening(store, monkeypatch, key="textssl/run/failed")  # the other rank
    with pytest.raises(FileNotFoundError), ending_together("run"):
        Path("/no/such/file").read_bytes()
    thread.join(timeout=10)
    assert str(ended[0]).startswith("error: /no/such/file: No such file or directory (rank 1 on ")


def test_one_process_asks_nobody():
    with pytest.raises(UserError, match="wrong"), ending_together("run"):
        raise UserError("wrong")


ONE_IS_WRONG = """
import os, sys
from textssl.cli.app import main
file, wrong, *arguments = sys.argv[1:]
main(["pretrain", *(arguments if os.environ["RANK"] == wrong else [file])])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "arguments", "words"),
    [
        (1, "{file} data.corpus={folder}/copy", "copy is not a prepared corpus"),
        (0, "{file} tokenizer={folder}/missing", "/missing"),
        (1, "{folder}/other.yaml", "other.yaml does not exist"),
        (0, "{file} train.batch=8", "unknown key train.batch;"),
    ],
    ids=["corpus", "tokenizer", "configuration", "key"],
)
def test_wrong_input_of_one_rank_ends_all_with_its_words(tmp_path, wrong: int, arguments: str, words: str):
    """The last two before the ranks have met."""
    make_corpus(tmp_path)
    config = tiny_config(tmp_path, "mlm")
    file = Path(config.out).with_suffix(".yaml")
    file.write_text(config.to_yaml())
    given = arguments.format(file=file, folder=tmp_path).split()
    ranks = Ranks(["-c", ONE_IS_WRONG, str(file), str(wrong), *given], 2)
    _, errors = ranks.communicate(timeout=60)
    assert [rank.returncode for rank in ranks.ranks] == [2, 2], errors
    assert errors.count(words) == 2 and errors.count(f"(rank {wrong} on ") == 1 and "Traceback" not in errors
    assert not list(Path(config.out).glob("*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("optimizer.lr=0.5", " and rank 0 differ in optimizer.lr: start the same command on every host"),
        ("evaluation.every=3", " and rank 0 differ in evaluation.every: start the same"),
        ("data.corpus={folder}/other", " and rank 0 differ in data: start the same"),
        ("data.corpus={folder}/bare", "bare/held-out is not a prepared corpus"),
    ],
    ids=["rate", "evaluation", "text", "held-out"],
)
def test_a_rank_that_would_train_something_else_is_refused(tmp_path, argument: str, words: str):
    make_corpus(tmp_path)
    write_corpus(tmp_path / "other", texts()[:-20], "train")
    shutil.copytree(tmp_path / "corpus", tmp_path / "bare", ignore=shutil.ignore_patterns("held-out"))
    config = tiny_config(tmp_path, "mlm", "evaluation.every=2", "train.max_steps=3")
    file = Path(config.out).with_suffix(".yaml")
    file.write_text(config.to_yaml())
    ranks = Ranks(["-c", ONE_IS_WRONG, str(file), "1", str(file), argument.format(folder=tmp_path)], 2)
    _, errors = ranks.communicate(timeout=60)
    assert [rank.returncode for rank in ranks.ranks] == [2, 2], errors
    assert words in errors and "Traceback" not in errors
    assert not list(Path(config.out).glob("*"))


@pytest.mark.slow
def test_a_rank_that_would_start_from_another_model_is_refused(tmp_path):
    make_corpus(tmp_path)
    pretrain(tiny_config(tmp_path, "mlm", "train.max_steps=1", out="first"))
    (tmp_path / "first" / "model").rename(tmp_path / "model")
    for name in ("copy", "other"):
        shutil.copytree(tmp_path / "model", tmp_path / name)
    about = tmp_path / "other" / "config.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "mlp_dropout": 0.5}))  # which no shape tells of
    config = tiny_config(tmp_path, "mlm", f"model.pretrained={tmp_path}/model", "train.max_steps=2")
    file = Path(config.out).with_suffix(".yaml")
    file.write_text(config.to_yaml())
    for name, code in (("other", 2), ("copy", 0)):
        ranks = Ranks(["-c", ONE_IS_WRONG, str(file), "1", str(file), f"model.pretrained={tmp_path}/{name}"], 2)
        _, errors = ranks.communicate(timeout=60)
        assert [rank.returncode for rank in ranks.ranks] == [code, code], errors
        assert (" and rank 0 differ in model.pretrained: start the same" in errors) == (code == 2)
