"""Every command that writes something, on small sound inputs: how it is started, and what it must have written."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.forked import server
from tests.preloaded import ask

ROOT = Path(__file__).parents[2]
SECONDS = 90  # of a command, before it counts as a hang
LEFTOVERS = (".partial", ".replaced", ".new", ".lock")  # endings of what is made aside
SCRATCH = ".textssl-"


@dataclass(frozen=True)
class Command:
    """arguments: (sound folder, where its result goes) -> words. result: the files, seen from there, that must be the
    same bytes each time (of JSON files these keys). saves: a signal ends it with 75, and it goes on later."""

    name: str
    out: str
    arguments: Callable[[Path, Path], list[str]]
    result: Mapping[str, tuple[str, ...]]
    saves: bool = False
    reads: tuple[str, ...] = ()  # folders and files below the sound folder


SHORT = ("train.max_steps=6", "train.batch_size=4", "train.checkpoint_every=2", "data.sequence_length=32")
MODEL = "model.config={model_type: modernbert, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, "
COMMANDS = {
    one.name: one
    for one in (
        Command(
            "tokenizer",
            "tokenizer",
            lambda sound, out: [
                *("tokenizer", "train", "--input", str(sound / "texts.jsonl")),
                *("--out", str(out), "--vocab-size", "400"),
            ],
            {"tokenizer.json": (), "tokenizer_config.json": ()},
            reads=("texts.jsonl",),
        ),
        Command(
            "prepare",
            "corpus",
            lambda sound, out: [
                *("prepare", "--input", str(sound / "texts.jsonl"), "--tokenizer", str(sound / "tokenizer")),
                *("--out", str(out), "--workers", "1", "--held-out", "0.2"),
            ],
            {"*.npy": (), "held-out/*.npy": ()},
            reads=("texts.jsonl", "tokenizer"),
        ),
        Command(
            "pretrain",
            "run",
            lambda sound, out: [
                *("pretrain", str(ROOT / "configs" / "mlm.yaml"), f"tokenizer={sound / 'tokenizer'}"),
                *(f"data.corpus={sound / 'corpus'}", f"out={out}", *SHORT),
                MODEL + "num_attention_heads: 2}",
            ],
            {"model/model.safetensors": (), "model/tokenizer.json": ()},
            saves=True,
            reads=("corpus", "tokenizer"),
        ),
        Command(
            "finetune",
            "run",
            lambda sound, out: [
                *("finetune", str(ROOT / "configs" / "classification.yaml"), f"model.pretrained={sound / 'bert'}"),
                *(f"data.train={sound / 'topics.jsonl'}", f"out={out}", "evaluation.baselines=[majority]", *SHORT),
            ],
            {"model/model.safetensors": (), "predictions.jsonl": ()},
            saves=True,
            reads=("bert", "topics.jsonl"),
        ),
        Command(
            "evaluate",
            "figures.json",
            lambda sound, out: [
                *("evaluate", "--model", str(sound / "bert"), "--suite", str(sound / "suite.yaml"), "--out", str(out)),
            ],
            {"": ("tasks", "weights_hash")},
            reads=("bert", "topics.jsonl", "suite.yaml"),
        ),
        Command(
            "embed",
            "vectors.npy",
            lambda sound, out: [
                *(
                    "embed",
                    "--model",
                    str(sound / "sentence"),
                    "--input",
                    str(sound / "topics.jsonl"),
                    "--out",
                    str(out),
                ),
            ],
            {"": ()},
            saves=True,
            reads=("sentence", "topics.jsonl"),
        ),
        Command(
            "mine",
            "mined.jsonl",
            lambda sound, out: [
                *("mine", "--model", str(sound / "bert"), "--pairs", str(sound / "pairs.jsonl"), "--out", str(out)),
            ],
            {"": ()},
            reads=("bert", "pairs.jsonl"),
        ),
        Command(
            "predict",
            "answers.jsonl",
            lambda sound, out: [
                *("predict", "--model", str(sound / "classifier"), "--input", str(sound / "topics.jsonl")),
                *("--out", str(out)),
            ],
            {"": ()},
            reads=("classifier", "topics.jsonl"),
        ),
    )
}


def result_of(command: Command, out: Path) -> dict[str, str]:
    """File -> hash of what it says; empty where there is no whole result."""
    found = {}
    for pattern, keys in command.result.items():
        for file in sorted(out.glob(pattern)) if pattern else [out] * out.is_file():
            content = file.read_bytes()
            if keys:
                content = json.dumps({key: json.loads(content)[key] for key in keys}).encode()
            found[file.relative_to(out).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def leftovers(folder: Path, command: Command) -> list[str]:
    """What a command that has ended should not have left there; what it goes on from later is no such thing."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    kept = f".{command.out}.partial" if command.saves else None
    return sorted(
        name
        for name in names
        if (kept is None or not name.startswith(kept))
        and (name.endswith(LEFTOVERS) or Path(name).name.startswith(SCRATCH))
    )


class Job:
    """A command line that runs. code: None until it has ended."""

    def __init__(self, answers: TextIO, errors: int) -> None:
        self.answers, self.errors = answers, errors  # the reading end of its standard error
        self.words = ""
        self.process = int(answers.readline())
        self.code: int | None = None
        self.started = time.monotonic()

    def wait(self, seconds: float = SECONDS) -> int | None:
        """The exit code; None (and the process is ended) where that takes longer."""
        killer = None
        if self.code is None:
            with Alarm(seconds, self.process) as killer:
                line = self.answers.readline()
            self.code = int(line or 1)
            self.answers.close()
            self.words = read_all(self.errors)
        return None if killer is not None and killer.fired else self.code

    def alive(self) -> bool:
        return self.send(0)

    def send(self, number: int) -> bool:
        """Send a signal; False where the process has ended."""
        try:
            os.kill(self.process, number)
        except ProcessLookupError:
            return False
        return True

    def said(self) -> str:
        """What it has written to standard error."""
        return self.words


def read_all(pipe: int) -> str:
    """What is in a pipe, which is closed then: up to 64 kB, in which no traceback of ours fails to fit."""
    os.set_blocking(pipe, False)
    pieces = []
    with suppress(BlockingIOError):  # a process that it left behind holds the other end
        while piece := os.read(pipe, 2**16):
            pieces.append(piece)
    os.close(pipe)
    return b"".join(pieces).decode(errors="replace")


class Alarm:
    """Ends a process after a while, unless the block is left before."""

    def __init__(self, seconds: float, process: int) -> None:
        self.fired, self.process = False, process
        self.timer = threading.Timer(seconds, self.fire)

    def fire(self) -> None:
        self.fired = True
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    def __enter__(self) -> Alarm:
        self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()
        self.timer.join()


class Starter:
    """Starts command lines as processes, in a sandbox."""

    def __init__(self, address: str, sandbox: Path) -> None:
        self.address, self.sandbox = address, sandbox

    def start(self, arguments: list[str], file_bytes: int | None = None) -> Job:
        environment = {**os.environ, "TMPDIR": str(self.sandbox / "tmp"), "HOME": str(self.sandbox / "home")}
        environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TEXTSSL_CACHE": str(self.sandbox / "cache")}
        errors, stream = os.pipe()  # no file, which a full disk would refuse too
        with open(os.devnull) as nothing, open(os.devnull, "w") as output:
            streams = {0: nothing.fileno(), 1: output.fileno(), 2: stream}
            answers = ask(self.address, arguments, str(self.sandbox), environment, streams, file_bytes)
        os.close(stream)
        return Job(answers, errors)

    def run(self, arguments: list[str], file_bytes: int | None = None) -> Job:
        job = self.start(arguments, file_bytes)
        job.wait()
        return job


@contextmanager
def starter(sandbox: Path) -> Iterator[Starter]:
    """A process from which command lines are forked, with everything imported."""
    for name in ("tmp", "home", "cache"):
        (sandbox / name).mkdir(exist_ok=True)
    yield Starter(server("serve"), sandbox)


MAKE_SOUND = """
import json, sys
from pathlib import Path
from tests.evaluation.folders import save_model
from tests.evaluation.test_damaged_folders import sentence_folder
from tests.labelled import finetune_config, write_pairs, write_topics
from tests.tiny import make_corpus, texts
sound = Path(sys.argv[1])
make_corpus(sound)
(sound / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\\n" for text in texts()[:60]))
save_model(sound / "bert", "bert")
sentence_folder(sound / "sentence")
write_topics(sound / "topics.jsonl", 90)
write_pairs(sound / "pairs.jsonl", 60, scores=False)
task = {"name": "topics", "kind": "classification", "path": "topics.jsonl", "shots": [2]}
(sound / "suite.yaml").write_text(json.dumps({"draws": 2, "tasks": [task]}))
"""


def make_sound(sound: Path, start: Starter) -> None:
    """A tokenizer, a corpus, models, labelled texts, pairs and a suite that are as they should be."""
    sound.mkdir()
    made = start.run(["-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{MAKE_SOUND}", str(sound)])
    assert made.code == 0, made.said()
    made = start.run(COMMANDS["finetune"].arguments(sound, sound / "tuned"))
    assert made.code == 0, made.said()
    (sound / "tuned" / "model").rename(sound / "classifier")
