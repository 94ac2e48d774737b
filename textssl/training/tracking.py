"""Figures of a run: metrics.jsonl for programs, TensorBoard, and a progress bar or log lines for people."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from textssl.errors import UserError, printable
from textssl.system import progress
from textssl.system.files import write_text, writing

METRICS = "metrics.jsonl"
LOOK_SECONDS = 1.0


@dataclass
class Recent:
    """Sums over the steps since the last log line."""

    steps: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    norm: float = 0.0
    tokens: int = 0
    padded_tokens: int = 0
    since: float = 0.0  # seconds of training when it began
    counted: dict[str, float] = field(default_factory=dict)  # what an objective counts besides its terms

    def add(
        self, losses: dict[str, float], norm: float, tokens: int, padded_tokens: int, counted: dict[str, float]
    ) -> None:
        self.steps += 1
        self.norm += norm
        self.tokens += tokens
        self.padded_tokens += padded_tokens
        for name, value in losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + value
        for name, count in counted.items():
            self.counted[name] = self.counted.get(name, 0.0) + count

    def figures(self, seconds: float) -> dict[str, float]:
        """Means over the steps, of several terms also one by one, and tokens per second. seconds: of training, now."""
        means = {name: value / self.steps for name, value in self.losses.items()}
        return {
            "train/loss": sum(means.values()),
            **({f"train/{name}": value for name, value in means.items()} if len(means) > 1 else {}),
            **{f"train/{name}": count / self.steps for name, count in self.counted.items()},
            "train/gradient_norm": self.norm / self.steps,
            "train/padding": 1 - self.tokens / max(self.padded_tokens, 1),
            "train/tokens_per_second": self.tokens / max(seconds - self.since, 1e-9),
        }


class RunFolder:
    """Whether a run's folder is still the one that it began with; None: never lost."""

    def __init__(self, run: Path | None) -> None:
        self.run, self.first = run, None if run is None else os.stat(run)
        self.looked_at = time.monotonic()

    def lost(self, *, now: bool = False) -> bool:
        """Whether it was removed, or another stands in its place. Looked at once in LOOK_SECONDS at most, or `now`."""
        if self.run is None or self.first is None or not (now or time.monotonic() - self.looked_at > LOOK_SECONDS):
            return False
        self.looked_at = time.monotonic()
        try:
            return not os.path.samestat(self.first, os.stat(self.run))
        except FileNotFoundError:
            return True
        except OSError:  # a file system that is away for a while
            return False

    def words(self) -> str:
        return (
            f"the run folder{f' {self.run}' if self.run else ''} was removed or replaced during the training, and its "
            "checkpoints with it: nothing more is written; start the run again, or put the folder back first"
        )


class Tracker:
    """Writes figures on rank 0; on other ranks (`run=None`) every call does nothing.

    describe: what to say about the training where a step, or the steps between two lines, take long.
    """

    def __init__(
        self, run: Path | None, console: Console, tensorboard: bool = False, describe: Callable[[], str] | None = None
    ):
        self.console = console
        self.file = (run / METRICS).open("a", encoding="utf-8") if run else None
        self.board = open_board(run) if run and tensorboard else None
        self.bar = None
        if run and console.is_terminal:
            columns = ("{task.description}", BarColumn(), "{task.percentage:>5.1f}%", TimeElapsedColumn())
            self.bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=console, transient=True)
        self.work = progress.Work("training", 1.0, "", describe, self.bar)

    def __enter__(self) -> Tracker:
        if self.bar:
            self.bar.start()
        if self.file:
            progress.begin(self.work)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()
        if self.file:
            progress.end(self.work)
            self.file.close()
        if self.board:
            self.board.close()

    def write(self, spent: dict[str, Any], figures: dict[str, float]) -> None:
        """One line of metrics.jsonl. spent: step, tokens, seconds."""
        if not self.file:
            return
        with writing(self.file.name):
            self.file.write(json.dumps(finite({**spent, **figures})) + "\n")
            self.file.flush()
        if self.board:
            for name, value in figures.items():
                self.board.add_scalar(name, value, spent["step"])

    def show(self, done: float, line: str, *, keep: bool = False) -> None:
        """Move the bar to `done` in [0, 1]; `keep` prints the line for good (always, where there is no terminal)."""
        if not self.file:
            return
        self.work.at(done, line)
        if keep or not self.bar:
            announce(self.console, line)


def announce(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: paths and figures are neither markup nor wrapped."""
    console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)
    progress.said()


def check_tensorboard() -> None:
    if importlib.util.find_spec("tensorboard") is None:
        raise UserError("train.tensorboard needs tensorboard: pip install tensorboard, or textssl's extra `track`")


def open_board(run: Path):
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(run / "tensorboard"))


def cut_metrics(run: Path, step: int) -> dict[str, float]:
    """Drop what metrics.jsonl says of steps after `step`, and a half-written last line.

    Returns the figures that hold at `step`: of the last log line, and of an evaluation of this very step.
    """
    file = run / METRICS
    if not file.is_file():
        return {}
    kept, figures = [], {}
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if values["step"] <= step:
            kept.append(line)
            figures |= {k: v for k, v in values.items() if k.startswith("train/")}
        if values["step"] == step:
            figures |= {k: v for k, v in values.items() if k.startswith("eval/")}
    write_text(file, "".join(f"{line}\n" for line in kept))
    return figures


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 42s, 3m05s, 2h07m."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def shown(figures: dict[str, float], most: int = 8) -> str:
    """The first figures of an evaluation on one line, without the time it took."""
    values = [f"{name} {value:.4f}" for name, value in figures.items() if not name.endswith(("seconds", "batch_size"))]
    return "  ".join(values[:most]) + (f"  and {len(values) - most} more" if len(values) > most else "")


def finite(value: Any) -> Any:
    """Nested plain values with null for every number that is not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
