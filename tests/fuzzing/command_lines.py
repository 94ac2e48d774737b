"""Trials of command lines, processes of their own with arguments, streams and environments that nobody expects."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzzing.files import ODD_TEXTS, write_file
from tests.fuzzing.trial import Outcome

ROOT = Path(__file__).parents[2]
SECONDS = 60
ODD_ARGUMENTS = (
    *("", " ", "0", "-1", "1", "2", "1.5", "1e3", "99999999999999999999", "9" * 400, "nan", "inf", "true", "null", "-"),
    *("~nosuchuser/x", "~", "/", ".", "..", "/dev/null", "/dev/full", "/proc/self/mem", "x" * 300, "y/" * 2500, "a\nb"),
    *("[bold]x[/bold]", "[/]", "\x1b[31mred", "<script>", "caf\u00e9", "\U0001f600", "\udcff", "--", "-x", "="),
    *("--help", "a=b", "sample:nosuch", "hf://", "hf://a b", "quick", "auto", "owner/nosuchmodel", "*.txt", "["),
    *("{a: 1}", "none"),
)  # fmt: skip
STREAMS = ("pipe", "pipe", "pipe", "full", "full error", "closed", "closed error", "head", "no input")
ENVIRONMENTS = (
    {},
    {},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"COLUMNS": "20", "NO_COLOR": "1"},
    {"FORCE_COLOR": "1"},
    {"TERM": "dumb"},
)
GOOD_CODES = (0, 2, 75)
GOOD_CODES_CUT_OFF = (*GOOD_CODES, 1, -signal.SIGPIPE)  # where nobody reads what is printed


@dataclass
class CommandLine:
    """A command line as it is started. streams: what standard output and error lead to."""

    arguments: list[str]
    environment: dict[str, str]
    streams: str

    def __str__(self) -> str:
        words = " ".join(f"{name}={value}" for name, value in self.environment.items())
        return f"{words} textssl {json.dumps(self.arguments)[1:-1]} ({self.streams})".strip()


def sound_lines(sound: Path, folder: Path, data: Path) -> dict[str, list[str]]:
    """Of every command one that works, or would with sound data."""
    text, out = str(data), folder / "out"
    short = ["train.max_steps=2", "train.batch_size=4", "train.max_seconds=5", "data.sequence_length=32"]
    pretraining = [f"tokenizer={sound}/tokenizer", f"data.corpus={sound}/corpus", f"out={out}", *short]
    pretraining.append(
        "model.config={model_type: llama, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2}"
    )
    tuning = [f"model.pretrained={sound}/bert", f"data.train={sound}/topics.jsonl", f"out={out}", *short]
    evaluation = ["--model", f"{sound}/bert", "--suite", f"{sound}/suite.yaml"]
    return {
        "version": ["--version"],
        "help": ["--help"],
        "samples list": ["samples", "list"],
        "samples get": ["samples", "get", "nosuch", "--out", str(out)],
        "tokenizer": ["tokenizer", "train", "--input", text, "--out", str(out), "--vocab-size", "300"],
        "prepare": [
            "prepare",
            "--input",
            text,
            "--tokenizer",
            f"{sound}/tokenizer",
            "--out",
            str(out),
            "--workers",
            "1",
        ],
        "pretrain": ["pretrain", str(ROOT / "configs" / "clm.yaml"), *pretraining],
        "finetune": ["finetune", str(ROOT / "configs" / "classification.yaml"), *tuning],
        "evaluate": ["evaluate", *evaluation, "--out", f"{out}.json", "--held-out", text],
        "embed": [
            "embed",
            "--model",
            f"{sound}/bert",
            "--input",
            text,
            "--out",
            f"{out}.npy",
            "--precision",
            "float16",
        ],
        "mine": ["mine", "--model", f"{sound}/bert", "--pairs", f"{sound}/pairs.jsonl", "--out", f"{out}.jsonl"],
        "generate": ["generate", "--model", f"{sound}/llama", "--prompt", "The boat", "--max-new-tokens", "5"],
        "fill-mask": ["fill-mask", "--model", f"{sound}/bert", "--text", "The [MASK] sank", "--top-k", "3"],
        "predict": ["predict", "--model", f"{sound}/classifier", "--input", text, "--out", f"{out}.jsonl"],
        "schema": ["schema"],
        "doctor": ["doctor", "--json"],
        "quickstart": ["quickstart", "--out", f"{sound}/topics.jsonl"],
    }


FLAGS = (
    *("--strict", "--overwrite", "--greedy", "--json", "--baselines", "--card", "--lowercase", "--normalize"),
    *("--nosuch", "--workers", "--text-column", "--one-document-per", "--held-out", "--seed", "--max-tokens"),
    *("--truncate-dim", "--top-k", "--top-p", "--temperature", "--prompt", "--vocab-size", "--algorithm", "--margin"),
    *("--range-max", "--num-negatives", "--max-pairs", "--tokenizer", "--corpus", "--against", "--suite"),
)  # fmt: skip
OVERRIDES = (
    *("train.max_steps", "train.max_epochs", "optimizer.lr", "train.log_every", "train.resume"),
    *("evaluation.suite", "objective", "objective.name", "model", "model.preset", "model.pretrained", "data"),
    *("data.train", "data.test", "data.shots", "data.test_share", "evaluation.best", "seed", "name"),
    *("out", "train.checkpoint_every", "schedule.name", "train.precision", "train.device"),
    *("tokenizer", "model.dropout", "train.workers", "nosuch.key"),
)  # fmt: skip


def command_line(rng: Random, sound: Path, folder: Path) -> CommandLine:
    """A random command line on random data; everything that it writes is below `folder`."""
    data = write_file(
        rng, folder, ("text", "label"), rng.choice((0.0, 0.05, 0.3)), (".jsonl", ".csv", ".parquet", ".txt")
    )
    lines = sound_lines(sound, folder, data.path)
    words = list(lines[rng.choice(list(lines))])
    configured = words[0] in ("pretrain", "finetune")
    for _ in range(rng.choice((0, 1, 1, 2, 3)) if words[0] != "quickstart" else 0):  # a sound one takes minutes
        change = rng.randrange(6)
        place = rng.randrange(1, len(words) + 1)
        if change <= 2 and place < len(words) and not words[place].startswith("-"):
            words[place] = odd_argument(rng)
        elif change == 3 and place < len(words):
            del words[place]
        elif change == 4 and configured:
            words.append(f"{rng.choice(OVERRIDES)}={odd_argument(rng)}")
        else:
            words += [rng.choice(FLAGS), *([odd_argument(rng)] if rng.random() < 0.7 else [])]
    words = [word.replace("\0", "") for word in words]
    return CommandLine(words, rng.choice(ENVIRONMENTS), rng.choice(STREAMS))


def odd_argument(rng: Random) -> str:
    return (
        rng.choice(ODD_ARGUMENTS) if rng.random() < 0.85 else rng.choice(ODD_TEXTS).encode("utf-8", "replace").decode()
    )


def outcome_of_line(line: CommandLine, folder: Path, start: Sequence[str]) -> tuple[Outcome, str]:
    """How a command line ends. start: the program, e.g. python -m textssl."""
    environment = {**os.environ, **line.environment}
    shell = {
        "pipe": '"$@"',
        "full": '"$@" >/dev/full',
        "full error": '"$@" 2>/dev/full',
        "closed": '"$@" >&-',
        "closed error": '"$@" 2>&-',
        "head": 'set -o pipefail; "$@" | head -n 1',
        "no input": '"$@" <&-',
    }[line.streams]
    words = [word.encode("utf-8", "surrogateescape") for word in (*start, *line.arguments)]
    process = subprocess.Popen(
        [b"bash", b"-c", shell.encode(), b"textssl", *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        printed, said = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        printed, said = process.communicate()
        return Outcome.hang, said.decode("utf-8", "replace")[-3000:]
    return judge(line, process.returncode, printed.decode("utf-8", "replace"), said.decode("utf-8", "replace"))


def judge(line: CommandLine, code: int, printed: str, said: str) -> tuple[Outcome, str]:
    text = f"exit code {code}\n{printed[-500:]}\n{said[-3000:]}"
    if "Traceback" in said or "panicked" in said or "Exception ignored" in said:
        return Outcome.traceback, text
    quiet = line.streams in ("full error", "closed error")
    if code not in (GOOD_CODES_CUT_OFF if line.streams in ("head", "closed", "full") else GOOD_CODES):
        return Outcome.traceback, text
    if "\x1b[31mred" in printed + said and "FORCE_COLOR" not in line.environment:
        return Outcome.wrong, f"the data steers the terminal: {text}"
    told = message_of(said) or "Usage: " in printed  # a group of commands without one shows its help
    if code == 2 and not quiet and line.streams != "full" and not told:
        return Outcome.wrong, f"no message, or more than one: {text}"
    return (Outcome.accepted if code in (0, 75) else Outcome.refused), text


def message_of(said: str) -> str:
    """The one error message among what was said; nothing where there is none, or several."""
    said = re.sub(r"\x1b\[[\d;]*m", "", said)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    usage = re.search("[─-] Error [─-]", said) is not None  # of the command line's own parser, in a box
    return errors[0] if len(errors) == 1 else said if usage and not errors else ""


PLAIN = (sys.executable, "-m", "textssl")
