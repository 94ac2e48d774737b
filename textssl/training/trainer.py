"""The loop: one global step after another, logged, evaluated, checkpointed, and resumed to the bit."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from textssl.batch import Batch
from textssl.data.batches.loader import Steps, load_steps
from textssl.distributed import Accelerator, from_first_rank, rank, sum_gradients, sum_over_ranks, world_size
from textssl.errors import UserError
from textssl.objectives.base import Encoded, Objective
from textssl.sections import Config
from textssl.system.terminal import Terminal
from textssl.training import checkpoint
from textssl.training.evaluations import Best, Evaluation, restore_best
from textssl.training.gradcache import StepGradient
from textssl.training.monitor import Monitor
from textssl.training.optimizer import build_optimizer, set_lr
from textssl.training.precision import widened
from textssl.training.schedule import Spent, lr_factor, progress
from textssl.training.signals import StopSignals
from textssl.training.step_totals import Agreed, agree
from textssl.training.tracking import Recent, RunFolder, Tracker, announce, cut_metrics, duration, shown


class Trainer:
    """Trains an objective on a dataset of steps.

    objective: built, on the accelerator's device. dataset: `dataset[step]` gives this rank's micro-batches. precision:
    float32, bfloat16 (mixed) or float64. resume_from: the checkpoint to go on from. identity: JSON facts that a resumed
    run must share (the corpus, the resolved configuration). on_progress: told before each step how much of the run will
    be done after it, for schedules inside the data that follow the clock. evaluations: may be added until `fit`.
    """

    def __init__(
        self,
        objective: Objective,
        dataset: Steps,
        config: Config,
        run: Path,
        accelerator: Accelerator,
        *,
        precision: str = "float32",
        resume_from: Path | None = None,
        identity: dict[str, Any] | None = None,
        on_progress: Callable[[float], None] = lambda done: None,
        console: Console | None = None,
    ):
        self.objective, self.dataset, self.config, self.run = objective, dataset, config, run
        self.accelerator, self.identity = accelerator, identity or {}
        self.evaluations: list[Evaluation] = []
        self.best = Best(config.evaluation.best, config.evaluation.patience)
        self.seen: set[str] = set()  # names of figures
        self.precision, self.resume_from, self.on_progress = precision, resume_from, on_progress
        self.console = console or Terminal(stderr=True)
        self.checkpoints = run / "checkpoints"
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimizers = build_optimizer(objective, config.optimizer)
        self.spent = Spent()
        self.resumed_from: list[int] = []
        self.skipped_steps = self.skipped_in_row = 0
        self.saved_at: int | None = None
        self.figures: dict[str, float] = {}
        self.recent, self.monitor, self.folder = Recent(), Monitor(), RunFolder(None)
        self.features: dict[str, Any] = {}  # of the last step, gathered
        self.step_seconds, self.step_loss = 0.0, math.nan
        self.done = self.done_before = 0.0  # progress now, and when this process began

    def fit(self) -> str | None:
        """Train to the end, or until a signal; returns the signal's name. The state is saved either way."""
        self.restore()
        self.folder = RunFolder(self.run if rank() == 0 else None)
        tracker = Tracker(self.folder.run, self.console, self.config.train.tensorboard, self.describe_step)
        with tracker as self.tracker, StopSignals() as self.signals:
            self.clock_started = time.perf_counter()
            self.seconds_before = self.spent.seconds
            unfinished = self.done < 1.0 and not self.best.exhausted
            stopped = self.loop() if unfinished else None
            if not stopped:
                self.finish(unfinished)
        return stopped

    def finish(self, unfinished: bool) -> None:
        """What is measured at the end, and the last checkpoint."""
        missing = [one for one in self.evaluations if one.mark not in self.figures]
        improved = bool(missing) and self.run_evaluation(missing)
        by_clock = unfinished and self.config.train.max_seconds is not None
        if improved or self.spent.steps != self.saved_at or by_clock:
            self.save()  # by the clock a run ends after its last step, and what is saved must know that it has ended
        self.best.check(self.seen, self.evaluations)

    def loop(self) -> str | None:
        """Steps until the end or a signal."""
        first, pin = self.spent.steps, self.device.type == "cuda"
        for batches in load_steps(self.dataset, itertools.count(first), self.workers, pin=pin):
            agreed = self.agree(batches)  # counted here: on a GPU, every count would be waited for
            batches = [batch.to(self.device) for batch in batches]
            if agreed.lost:
                raise UserError(self.folder.words())
            now = replace(self.spent, seconds=agreed.seconds)
            if progress(self.config.train, now) >= 1.0:
                break
            if agreed.stop:
                if self.spent.steps != self.saved_at:
                    self.save()
                return self.signals.name or "signal"
            self.spent = now
            self.step_seconds = (agreed.seconds - self.seconds_before) / max(self.spent.steps - first, 1)
            self.train_step(batches, agreed)
            self.after_step()
            if self.best.exhausted:
                break
        return None

    def agree(self, batches: list[Batch]) -> Agreed:
        """One small all-reduce a step: counts of items, tokens, who wants to stop, and rank 0's clock."""
        counts: dict[str, float] = {}
        for batch in batches:
            for name, count in self.objective.counts(batch).items():
                counts[name] = counts.get(name, 0) + count
        sizes = sum(batch.tokens for batch in batches), sum(self.objective.places(batch) for batch in batches)
        clock = self.training_seconds() if rank() == 0 else 0.0
        mine = Agreed(counts, *sizes, clock, stop=self.signals.name is not None, lost=self.folder.lost())
        return agree(mine, self.device)

    def train_step(self, batches: list[Batch], agreed: Agreed) -> None:
        """Gradient, clipping, update. A step whose loss or gradient is not finite changes no weight."""
        spent, train = self.spent, self.config.train
        after = Spent(spent.steps + 1, spent.tokens + agreed.tokens, spent.seconds + self.step_seconds)
        before, self.done = self.done, progress(train, after)
        self.on_progress(self.done)
        self.lr_factor = lr_factor(self.config.schedule, spent.steps, (before + self.done) / 2)
        set_lr(self.optimizers, self.lr_factor)
        self.objective.train()
        gradient = self.gradient(batches, agreed)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, train.max_grad_norm or math.inf)
        names = sorted(gradient.totals)
        # The one place of a step where the host waits for the device:
        norm, *losses = torch.stack([norm.double(), *(gradient.totals[name].double() for name in names)]).tolist()
        losses = sum_over_ranks(losses, self.device)
        if math.isfinite(norm) and all(map(math.isfinite, losses)):
            for optimizer in self.optimizers:
                optimizer.step()
            self.objective.commit(gradient.features)
            self.skipped_in_row, self.step_loss = 0, sum(losses)
            self.recent.add(dict(zip(names, losses, strict=True)), norm, agreed.tokens, agreed.places)
            self.features = gradient.features
        else:
            self.skip(dict(zip(names, losses, strict=True)), norm)
        for parameter in self.parameters:
            parameter.grad = None
        self.spent = after

    def gradient(self, batches: list[Batch], agreed: Agreed) -> StepGradient:
        """The gradient of the global step in `.grad`, the same on every rank."""
        train = self.config.train
        gradient = StepGradient(
            *(self.objective, self.encode, agreed.counts, self.config.seed, self.spent.steps),
            cache=train.micro_batch_size is not None or train.micro_batch_tokens is not None,
        )
        gradient.run(batches, Tensor.backward)
        sum_gradients(self.parameters)
        return gradient

    def encode(self, batch: Batch) -> Encoded:
        """The objective's forward in the run's precision; features in float32 at least, as losses want."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            terms, features = self.objective(batch)
        return Encoded(terms, {name: widened(value) for name, value in features.items()})

    def skip(self, losses: dict[str, float], norm: float) -> None:
        """Count a step that was not finite; several in a row end the run with their names."""
        self.skipped_steps += 1
        self.skipped_in_row += 1
        step, train = self.spent.steps, self.config.train
        samples = self.dataset.sample_range(step)
        what = ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
        where = f"step {step}, samples {samples.start} to {samples.stop - 1} ({what}, gradient norm {norm:.4g})"
        if rank() == 0:
            announce(self.console, f"not finite, step skipped: {where}", style="yellow")
        if self.skipped_in_row >= train.max_skipped_steps:
            raise UserError(
                f"{self.skipped_in_row} steps in a row were not finite, the last at {where}: lower optimizer.lr, "
                f"lengthen the warmup, or look at these samples; the newest checkpoint is untouched"
            )

    def after_step(self) -> None:
        """Log, evaluate and save at their periods, on the step that has just been made."""
        step, train = self.spent.steps, self.config.train
        self.figures = {name: value for name, value in self.figures.items() if not name.startswith("eval/")}
        if step % train.log_every == 0:
            self.log()
        due = [one for one in self.evaluations if one.due(step)]
        improved = bool(due) and self.run_evaluation(due)
        if due:
            self.best.check(self.seen, self.evaluations)
        if improved or (train.checkpoint_every and step % train.checkpoint_every == 0):
            self.save()

    def log(self) -> None:
        recent, seconds = self.recent, self.training_seconds()
        self.recent = Recent(since=seconds)
        if not recent.steps:
            return
        figures = {
            **recent.figures(seconds),
            "train/lr": self.config.optimizer.lr * self.lr_factor,
            "train/skipped_steps": self.skipped_steps,
            **self.look_at_features(),
        }
        self.figures.update(figures)
        self.tracker.write(self.position(seconds), figures)
        left = (seconds - self.seconds_before) * (1 - self.done) / max(self.done - self.done_before, 1e-9)
        loss, speed, step = figures["train/loss"], figures["train/tokens_per_second"], self.spent.steps
        self.tracker.show(self.done, f"step {step:>6}  loss {loss:.4f}  {speed:,.0f} tokens/s  {duration(left)} left")

    def describe_step(self) -> str:
        return f"{self.spent.steps:,} steps made, {100 * self.done:.1f} %, loss of the last one {self.step_loss:.4f}"

    def look_at_features(self) -> dict[str, float]:
        """The monitor's figures of the last step, and its alarm, on rank 0; the features are the same everywhere."""
        watched = self.objective.watched(self.features) if self.features else None
        if watched is None:
            return {}
        figures = self.monitor.look(watched)
        alarm = self.monitor.alarm(self.config.objective["name"])
        if alarm is not None:
            if self.config.train.stop_on_collapse:
                raise UserError(f"step {self.spent.steps}: {alarm}; the newest checkpoint is untouched")
            if rank() == 0:
                announce(self.console, f"COLLAPSE at step {self.spent.steps}: {alarm}", style="bold red")
        return figures

    def run_evaluation(self, evaluations: Sequence[Evaluation]) -> bool:
        """Figures into metrics.jsonl, the training clock standing still; returns whether they are the best so far."""
        started, seconds = time.perf_counter(), self.training_seconds()
        figures: dict[str, float] = {}
        for evaluation in evaluations:
            figures |= evaluation.run()
            evaluation.ran = True
        self.clock_started += time.perf_counter() - started
        figures["eval/seconds"] = time.perf_counter() - started
        self.figures.update(figures)
        self.seen |= set(figures)
        improved = self.best.look(figures, self.spent.steps)
        self.tracker.write(self.position(seconds), figures)
        self.tracker.show(self.done, f"step {self.spent.steps:>6}  {shown(figures)}{'  best' * improved}", keep=True)
        return improved

    def take_best(self) -> None:
        """The weights of the best checkpoint in the objective, on every rank, where it is not the last one."""
        if self.best.step not in (None, self.spent.steps):
            words = restore_best(self.best, self.checkpoints, self.objective)
            if rank() == 0:
                announce(self.console, words)

    @property
    def exported_figures(self) -> dict[str, float]:
        """Those of the weights that `take_best` takes."""
        return self.figures if self.best.step is None else self.best.figures

    def position(self, seconds: float) -> dict[str, Any]:
        return {"step": self.spent.steps, "tokens": self.spent.tokens, "seconds": round(seconds, 3)}

    def training_seconds(self) -> float:
        """Seconds of training since the run began, over resumes, evaluation apart."""
        return self.seconds_before + time.perf_counter() - self.clock_started

    def save(self) -> None:
        """A checkpoint of this moment, written by rank 0; where that cannot, every rank says why."""
        self.saved_at = self.spent.steps

        def write() -> None:
            if self.folder.lost(now=True):
                raise UserError(self.folder.words())
            self.spent = replace(self.spent, seconds=round(self.training_seconds(), 3))
            state = {
                **self.position(self.spent.seconds),
                "skipped_steps": self.skipped_steps,
                "skipped_in_row": self.skipped_in_row,
                "resumed_from": self.resumed_from,
                "num_processes": world_size(),
                "threads": torch.get_num_threads(),
                "identity": self.identity,
                "recent": asdict(self.recent),
                "monitor": self.monitor.state(),
                "best": self.best.state(),
            }
            checkpoint.save_checkpoint(
                self.checkpoints,
                self.spent.steps,
                self.objective,
                self.optimizers,
                state,
                self.config.train.keep_checkpoints,
                self.best.step,
            )

        from_first_rank(write)

    def restore(self) -> None:
        """Go on from the newest complete checkpoint, if there is one."""
        newest = self.resume_from
        if newest is None:
            if rank() == 0:
                cut_metrics(self.run, -1)
            return
        state = checkpoint.read_state(newest)
        checkpoint.restore_checkpoint(newest, self.objective, self.optimizers)
        self.spent = Spent(state["step"], state["tokens"], state["seconds"])
        self.skipped_steps, self.skipped_in_row = state["skipped_steps"], state["skipped_in_row"]
        self.recent = Recent(**state.get("recent", {"since": self.spent.seconds}))
        self.monitor.restore(state["monitor"])
        self.saved_at = state["step"]
        self.done = self.done_before = progress(self.config.train, self.spent)
        changed = self.best.restore(state.get("best"), ended=self.done >= 1.0)
        self.on_progress(self.done)
        unfinished = self.done < 1.0 and not self.best.exhausted
        self.resumed_from = state["resumed_from"] + ([state["step"]] if unfinished else [])
        if rank() == 0:
            self.figures = cut_metrics(self.run, state["step"])
            announce(self.console, f"going on from {newest} (step {state['step']})")
            if changed:
                announce(self.console, changed, style="yellow")
        self.figures = from_first_rank(lambda: self.figures)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def workers(self) -> int:
        chosen = self.config.train.workers
        return chosen if chosen is not None else (2 if self.device.type == "cuda" else 0)
