"""What a run records about itself: recent figures, skipped steps, the best evaluation, and the collapse alarm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from textssl.distributed import rank
from textssl.errors import UserError
from textssl.objectives.base import Objective
from textssl.sections import Config
from textssl.system.hardware import host_waits
from textssl.training.evaluations import Best, Evaluation
from textssl.training.monitor import Monitor
from textssl.training.schedule import Spent
from textssl.training.step import StepResult, StepTotals
from textssl.training.tracking import Recent, RunFolder, Tracker, announce, duration, shown


class Made(NamedTuple):
    """A step whose figures may still be on their way from the device. samples: of the run's order, by number."""

    step: int
    samples: range
    result: StepResult
    totals: StepTotals


class Logbook:
    """The figures of a run, the same on every rank; the first rank writes them.

    figures: the newest of every name. seen: names of figures that an evaluation gave. skipped_steps: steps that were
    not finite and changed nothing. unread: steps whose figures nobody has read yet; on a GPU reading them means
    waiting.
    """

    def __init__(self, run: Path, config: Config, objective: Objective, console: Console):
        self.config, self.objective, self.console = config, objective, console
        self.best = Best(config.evaluation.best, config.evaluation.patience)
        self.recent, self.monitor, self.folder = Recent(), Monitor(), RunFolder(None)
        self.figures: dict[str, float] = {}
        self.seen: set[str] = set()
        self.unread: list[Made] = []
        self.skipped_steps = self.skipped_in_row = 0
        self.step_loss = math.nan
        self.features: dict[str, Any] = {}  # of the last step, gathered
        self.run = run

    def open(self, describe: Any) -> Tracker:
        """The run's files, on the first rank, where the run folder is watched too; to be entered by the caller."""
        self.folder = RunFolder(self.run if rank() == 0 else None)
        self.tracker = Tracker(self.folder.run, self.console, self.config.train.tensorboard, describe)
        return self.tracker

    def add(self, step: int, samples: range, result: StepResult, totals: StepTotals) -> None:
        """Note a step. On a CPU its figures are read at once, on a GPU when somebody wants them."""
        self.unread.append(Made(step, samples, result, totals))
        self.features = result.features
        if not host_waits(result.losses):
            self.read()

    def read(self) -> None:
        """Take the figures of the steps since the last time off the device.

        Raises UserError after `train.max_skipped_steps` skipped steps in a row.
        """
        made, self.unread = self.unread, []
        for step, samples, result, totals in made:
            norm, *losses = torch.stack([result.norm.double(), *result.losses]).tolist()
            figures = dict(zip(result.names, losses, strict=True))
            if bool(result.finite):
                self.skipped_in_row, self.step_loss = 0, sum(losses)
                counted = {name: count for name, count in totals.counts.items() if name not in figures}
                self.recent.add(figures, norm, totals.tokens, totals.padded_tokens, counted)
            else:
                self.skip(step, samples, figures, norm)

    def skip(self, step: int, samples: range, losses: dict[str, float], norm: float) -> None:
        """Count a step that was not finite. Raises UserError, naming it, after `max_skipped_steps` of them in a row."""
        self.skipped_steps += 1
        self.skipped_in_row += 1
        what = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        where = f"step {step}, samples {samples.start} to {samples.stop - 1} ({what}, gradient norm {norm:.4g})"
        if rank() == 0:
            announce(self.console, f"not finite, step skipped: {where}", style="yellow")
        if self.skipped_in_row >= self.config.train.max_skipped_steps:
            raise UserError(
                f"{self.skipped_in_row} steps in a row were not finite, the last at {where}: lower optimizer.lr, "
                f"lengthen the warmup, or look at these samples; the newest checkpoint is untouched"
            )

    def begin_step(self) -> None:
        """Figures of an evaluation are those of its step alone."""
        self.figures = {name: value for name, value in self.figures.items() if not name.startswith("eval/")}

    def log(self, spent: Spent, seconds: float, lr: float, done: float, seconds_left: float) -> None:
        """Write one line on the steps since the last line. done: progress in [0, 1]."""
        self.read()
        recent, self.recent = self.recent, Recent(since=seconds)
        if not recent.steps:
            return
        figures = {
            **recent.figures(seconds),
            "train/lr": lr,
            "train/skipped_steps": self.skipped_steps,
            **self.own_figures(),
            **self.watch(spent.steps),
        }
        self.figures.update(figures)
        self.tracker.write(position(spent, seconds), figures)
        loss, speed = figures["train/loss"], figures["train/tokens_per_second"]
        left = duration(seconds_left)
        self.tracker.show(done, f"step {spent.steps:>6}  loss {loss:.4f}  {speed:,.0f} tokens/s  {left} left")

    def own_figures(self) -> dict[str, float]:
        """The objective's own figures of the last step."""
        if not self.features:
            return {}
        return {f"train/{name}": float(value) for name, value in self.objective.figures(self.features).items()}

    def watch(self, step: int) -> dict[str, float]:
        """The monitor's figures of the last step; its alarm is printed by rank 0 or raised (train.stop_on_collapse)."""
        watched = self.objective.watched(self.features) if self.features else None
        if watched is None:
            return {}
        figures = self.monitor.look(watched)
        alarm = self.monitor.alarm(self.config.objective["name"], self.objective.against_collapse)
        if alarm is not None:
            if self.config.train.stop_on_collapse:
                raise UserError(f"step {step}: {alarm}; the newest checkpoint is untouched")
            if rank() == 0:
                announce(self.console, f"COLLAPSE at step {step}: {alarm}", style="bold red")
        return figures

    def add_evaluation(self, figures: dict[str, float], spent: Spent, seconds: float, done: float) -> bool:
        """Record what an evaluation gave; returns whether it is the best so far."""
        self.figures.update(figures)
        self.seen |= set(figures)
        improved = self.best.look(figures, spent.steps)
        self.tracker.write(position(spent, seconds), figures)
        self.tracker.show(done, f"step {spent.steps:>6}  {shown(figures)}{'  best' * improved}", keep=True)
        return improved

    def check_best(self, evaluations: list[Evaluation]) -> None:
        """Raise UserError where every evaluation has run and none gives the figure that chooses."""
        self.best.check(self.seen, evaluations)

    @property
    def exported_figures(self) -> dict[str, float]:
        """Figures of the weights that are exported."""
        return self.figures if self.best.step is None else self.best.figures

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        self.read()
        return {
            "skipped_steps": self.skipped_steps,
            "skipped_in_row": self.skipped_in_row,
            "recent": asdict(self.recent),
            "monitor": self.monitor.state(),
            "best": self.best.state(),
        }

    def restore(self, state: Mapping[str, Any], *, ended: bool) -> str | None:
        """Take up a saved state; returns a message for the user where another figure was looked at then."""
        self.skipped_steps, self.skipped_in_row = state["skipped_steps"], state["skipped_in_row"]
        self.recent = Recent(**state["recent"])
        self.monitor.restore(state["monitor"])
        return self.best.restore(state.get("best"), ended=ended)


def position(spent: Spent, seconds: float) -> dict[str, Any]:
    """Where a run is, as in every line of metrics.jsonl."""
    return {"step": spent.steps, "tokens": spent.tokens, "seconds": round(seconds, 3)}
