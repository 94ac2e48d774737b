"""The library's training, which no signal can interrupt; so more than a little text is trained on in a subprocess.

The caller then waits for its answer in Python, and any exception that ends the wait ends the subprocess too.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from typing import Any, NamedTuple

from tokenizers import Tokenizer, pre_tokenizers, trainers

from textssl.errors import UserError
from textssl.system.subprocesses import Helper, answer_requests

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # their ids are 0 to 4
PRINTABLE_ASCII = [chr(code) for code in range(33, 127)]
LITTLE_CHARACTERS = {"bpe": 2**17, "wordpiece": 2**17, "unigram": 2**14}  # trained on here, in under a second
BATCH_CHARACTERS = 2**20  # sent to the subprocess at once
PARENT_SECONDS = 0.5  # between two checks that the parent is alive


class Task(NamedTuple):
    """What to train: the untrained tokenizer as JSON, and the options of its trainer. reserved: number of tokens of
    vocab_size that are added later."""

    tokenizer: str
    algorithm: str
    vocab_size: int
    reserved: int
    min_frequency: int


def fit(task: Task, texts: Iterable[str]) -> Tokenizer:
    """The tokenizer of the task, trained on the texts. Raises UserError for a vocabulary smaller than the alphabet."""
    little = LITTLE_CHARACTERS[task.algorithm]
    batches = in_batches(texts, little)
    opening = next(batches, [])
    following = next(batches, None)
    if following is None and sum(map(len, opening)) <= little:
        return train(task, opening)
    with closing(Helper("the training of the tokenizer", __name__, {})) as helper:
        helper.send(task)
        for batch in chain([opening, following or []], batches):
            if helper.process.poll() is not None:  # it has ended: its answer says why
                break
            helper.send(batch)
        helper.send(None)
        return Tokenizer.from_str(helper.answer())


def in_batches(texts: Iterable[str], little: int) -> Iterator[list[str]]:
    """Texts in lists: the first of just over `little` characters together, the others of BATCH_CHARACTERS."""
    batch: list[str] = []
    size, most = 0, little
    for text in texts:
        batch.append(text)
        size += len(text)
        if size > most:
            yield batch
            batch, size, most = [], 0, BATCH_CHARACTERS
    if batch:
        yield batch


def train(task: Task, texts: Iterable[str]) -> Tokenizer:
    tokenizer = Tokenizer.from_str(task.tokenizer)
    try:
        size = task.vocab_size - task.reserved
        tokenizer.train_from_iterator(texts, build_trainer(task.algorithm, size, task.min_frequency))
    except Exception as error:
        if "not large enough" not in str(error):
            raise
        raise too_small(task.vocab_size, task.algorithm) from None
    return tokenizer


def build_trainer(algorithm: str, vocab_size: int, min_frequency: int) -> Any:
    shared = {"vocab_size": vocab_size, "special_tokens": list(SPECIAL_TOKENS), "show_progress": False}
    if algorithm == "bpe":
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        return trainers.BpeTrainer(min_frequency=min_frequency, initial_alphabet=alphabet, **shared)
    if algorithm == "wordpiece":
        # every character has two tokens (x and ##x): at most half of a large vocabulary goes to the alphabet
        limit = max(vocab_size // 4, len(PRINTABLE_ASCII))
        return trainers.WordPieceTrainer(
            min_frequency=min_frequency, initial_alphabet=PRINTABLE_ASCII, limit_alphabet=limit, **shared
        )
    return trainers.UnigramTrainer(unk_token="[UNK]", initial_alphabet=[*PRINTABLE_ASCII, "▁", "\n", "\t"], **shared)


def too_small(vocab_size: int, algorithm: str) -> UserError:
    advice = "" if algorithm == "bpe" else ", or algorithm bpe, which works on bytes"
    return UserError(f"vocab_size {vocab_size} is too small for the characters of this text: give a larger one{advice}")


def serve() -> None:
    """In the subprocess: receives a task, then lists of texts, then None; answers with the trained tokenizer (JSON)."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # like Ctrl-C, they may reach the whole process group; the parent decides
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    answer_requests(lambda task: (train(task, received()).to_str(), str))


def received() -> Iterator[str]:
    while (batch := pickle.load(sys.stdin.buffer)) is not None:
        yield from batch


def end_with_parent(parent: int) -> None:
    """End this process once its parent is gone, for whatever reason; other threads run while the library trains."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
