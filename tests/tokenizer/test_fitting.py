"""Training in a subprocess gives what training here gives, and ends with its caller, however that goes."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from textssl import tokenizer as tokenizers
from textssl.errors import UserError
from textssl.tokenizer import SPECIAL_TOKENS, fitting

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [f"Text {number} of the readers, with words and more words: {'na' * (number % 7)}." for number in range(400)]
SECONDS = 20.0  # the promise is two; on a busy machine a process takes a while to be scheduled
LONG_TRAINING = """
import random, sys
from textssl.tokenizer import train_tokenizer
random.seed(0)
words = " ".join("".join(random.choices("ACGT", k=60)) for _ in range(60_000))
train_tokenizer([words], vocab_size=8192)
"""


@pytest.fixture
def subprocesses(monkeypatch):
    """Every training runs in one; gives those that were made."""
    made = []

    class Counted(fitting.Helper):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(fitting, "Helper", Counted)
    monkeypatch.setattr(fitting, "LITTLE_CHARACTERS", dict.fromkeys(fitting.LITTLE_CHARACTERS, 100))
    monkeypatch.setattr(fitting, "BATCH_CHARACTERS", 1000)
    return made


def test_a_subprocess_trains_the_same_tokenizer(subprocesses, monkeypatch):
    found = tokenizers.train_tokenizer(iter(TEXTS), vocab_size=400).backend_tokenizer.to_str()
    assert [helper.process.returncode is not None for helper in subprocesses] == [True]
    monkeypatch.undo()
    assert found == tokenizers.train_tokenizer(TEXTS, vocab_size=400).backend_tokenizer.to_str()
    assert len(subprocesses) == 1


def test_a_vocabulary_that_is_too_small_is_named_from_there_too(subprocesses):
    signs = [chr(code) for code in range(0x3000, 0x3000 + 300)]
    with pytest.raises(UserError, match="vocab_size 120 is too small for the characters"):
        tokenizers.train_tokenizer([*TEXTS, *signs], algorithm="unigram", vocab_size=120, byte_fallback=False)
    assert len(subprocesses) == 1


def test_an_error_while_texts_are_read_ends_the_subprocess(subprocesses):
    def broken():
        yield from TEXTS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenizers.train_tokenizer(broken())
    assert [helper.process.returncode is not None for helper in subprocesses] == [True]


def children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, owner = status.read_text().rpartition(")")[2].split()[:2]
            if int(owner) == parent and state != "Z":
                found.append(int(status.parent.name))
    return found


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_ends_the_training(number):
    command = subprocess.Popen(
        [sys.executable, "-c", LONG_TRAINING], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_until(lambda: children(command.pid), 60)
        (trainer,) = children(command.pid)
        time.sleep(1.5)
        os.kill(command.pid, number)
        command.wait(SECONDS)
        assert command.returncode == -number
        wait_until(lambda: not Path(f"/proc/{trainer}").exists() or trainer not in alive(trainer), SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)


def alive(process: int) -> list[int]:
    with suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return [] if state == "Z" else [process]
    return []


@pytest.mark.parametrize("algorithm", tokenizers.ALGORITHMS)
def test_texts_that_spell_special_tokens_give_each_one_id(algorithm):
    glued = ["[CLS]the cat[SEP][PAD] sat on [MASK]the mat[UNK] <0x41>"] * 50 + ["[CLS]", "[CLS][SEP]x", "<0x41>"] * 20
    tokenizer = tokenizers.train_tokenizer(glued, algorithm=algorithm, vocab_size=500)
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert len(set(tokenizer.get_vocab().values())) == len(tokenizer.get_vocab()) == len(tokenizer)
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    ids = backend.encode("[CLS]the cat[SEP] <0x41>", add_special_tokens=False).ids
    assert not {0, 2, 3, 4} & set(ids)
    if algorithm != "wordpiece":
        assert backend.decode(ids) == ("" if algorithm == "unigram" else " ") + "[CLS]the cat[SEP] <0x41>"
