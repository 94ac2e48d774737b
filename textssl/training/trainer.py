"""The loop: one global step after another, logged, evaluated, checkpointed, and resumed bit for bit."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from textssl.batch import Batch
from textssl.data.batches.loader import Steps, load_steps
from textssl.distributed import Accelerator, broadcast_tensors, from_first_rank, rank, world_size
from textssl.errors import UserError
from textssl.objectives.base import Embed, Encoded, Objective
from textssl.sections import Config
from textssl.system.terminal import Terminal
from textssl.training import checkpoint
from textssl.training.evaluations import Evaluation, restore_best
from textssl.training.logbook import Logbook, position
from textssl.training.optimizer import build_optimizer, forget, set_lr, versions
from textssl.training.precision import computing_in, widened
from textssl.training.schedule import Spent, lr_factor, progress
from textssl.training.signals import StopSignals
from textssl.training.step import StepTotals, even_out, sum_totals, train_step
from textssl.training.tracking import announce, cut_metrics


class Trainer:
    """Trains an objective on a dataset of steps.

    objective: built, on the accelerator's device. dataset: `dataset[step]` gives this rank's micro-batches. resolved:
    the configuration as RUN/config.yaml has it; config is the same with its length in steps. precision: float32,
    bfloat16 (mixed) or float64. resume_from: the checkpoint to go on from. identity: JSON facts that a resumed run must
    share (the corpus, the resolved configuration). on_progress: told before each step how much of the run will be done
    after it, for schedules inside the data that follow the clock. evaluations: may be added until `fit`. embed_corpus:
    what an objective's `refresh` is given; None where it has none.
    """

    def __init__(
        self,
        objective: Objective,
        dataset: Steps,
        config: Config,
        run: Path,
        accelerator: Accelerator,
        *,
        resolved: Config | None = None,
        precision: str = "float32",
        resume_from: Path | None = None,
        identity: dict[str, Any] | None = None,
        on_progress: Callable[[float], None] = lambda done: None,
        console: Console | None = None,
    ):
        self.objective, self.dataset, self.config, self.run = objective, dataset, config, run
        self.accelerator, self.identity = accelerator, identity or {}
        self.resolved = resolved or config
        self.evaluations: list[Evaluation] = []
        self.embed_corpus: Embed | None = None
        self.precision, self.resume_from, self.on_progress = precision, resume_from, on_progress
        self.console = console or Terminal(stderr=True)
        self.checkpoints = run / "checkpoints"
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimizers = build_optimizer(objective, config.optimizer, precision)
        self.book = Logbook(run, config, objective, self.console)
        self.spent = Spent()
        self.resumed_from: list[int] = []
        self.saved_at: int | None = None
        self.step_seconds = 0.0
        self.done = self.done_before = 0.0  # progress now, and when this process began

    def fit(self) -> str | None:
        """Train to the end, or until a signal; returns the signal's name. The state is saved either way."""
        self.restore()
        with self.book.open(self.describe_step), StopSignals() as self.signals:
            self.clock_started = time.perf_counter()
            self.seconds_before = self.spent.seconds
            unfinished = self.done < 1.0 and not self.book.best.exhausted
            stopped = self.loop() if unfinished else None
            if not stopped:
                self.finish(unfinished)
        return stopped

    def finish(self, unfinished: bool) -> None:
        """What is measured at the end, and the last checkpoint."""
        self.book.read()
        missing = [one for one in self.evaluations if one.mark not in self.book.figures]
        improved = bool(missing) and self.run_evaluation(missing)
        by_clock = unfinished and self.config.train.max_seconds is not None
        if improved or self.spent.steps != self.saved_at or by_clock:
            self.save()  # by the clock a run ends after its last step, and what is saved must know that it has ended
        self.book.check_best(self.evaluations)

    def loop(self) -> str | None:
        """Steps until the end or a signal."""
        first, pin = self.spent.steps, self.device.type == "cuda"
        if first == 0:
            self.refresh()
        for batches in load_steps(self.dataset, itertools.count(first), self.workers, pin=pin):
            batches = even_out(batches, self.device)
            totals = self.totals(batches)  # counted here: on a GPU, every count would be waited for
            batches = [batch.to(self.device) for batch in batches]
            if totals.lost:
                raise UserError(self.book.folder.words())
            if progress(self.config.train, replace(self.spent, seconds=totals.seconds)) >= 1.0:
                break
            if totals.stop:
                if self.spent.steps != self.saved_at:
                    self.save()
                return self.signals.name or "signal"
            self.spent = replace(self.spent, seconds=totals.seconds)
            self.step_seconds = (totals.seconds - self.seconds_before) / max(self.spent.steps - first, 1)
            self.train_step(batches, totals)
            self.after_step()
            if self.book.best.exhausted:
                break
        return None

    def totals(self, batches: list[Batch]) -> StepTotals:
        """One small all-reduce a step: counts of items, tokens, who wants to stop, and rank 0's clock."""
        counts: dict[str, float] = {}
        for batch in batches:
            for name, count in self.objective.counts(batch).items():
                counts[name] = counts.get(name, 0) + count
        sizes = sum(batch.tokens for batch in batches), sum(self.objective.padded_tokens(batch) for batch in batches)
        clock = self.training_seconds() if rank() == 0 else 0.0
        stop, lost = self.signals.name is not None, self.book.folder.lost()
        return sum_totals(StepTotals(counts, *sizes, clock, stop=stop, lost=lost), self.device)

    def train_step(self, batches: list[Batch], totals: StepTotals) -> None:
        """One step, at the learning rate of its place in the run."""
        spent, train = self.spent, self.config.train
        after = Spent(spent.steps + 1, spent.tokens + totals.tokens, spent.seconds + self.step_seconds)
        before, self.done = self.done, progress(train, after)
        self.on_progress(self.done)
        self.lr_factor = lr_factor(self.config.schedule, spent.steps, (before + self.done) / 2)
        set_lr(self.optimizers, self.lr_factor)
        self.objective.train()
        result = train_step(
            *(self.objective, self.parameters, self.optimizers, batches, totals.counts),
            encode=self.encode,
            seed=self.config.seed,
            step=spent.steps,
            cache=train.micro_batch_size is not None or train.micro_batch_tokens is not None,
            max_grad_norm=train.max_grad_norm,
            progress=self.done,
            logged=after.steps % train.log_every == 0,
        )
        self.book.add(spent.steps, self.dataset.sample_range(spent.steps), result, totals)
        self.spent = after

    def encode(self, batch: Batch) -> Encoded:
        """The objective's forward in the run's precision; features in float32 at least, as losses want."""
        with computing_in(self.precision, self.device):
            terms, features = self.objective(batch)
        return Encoded(terms, {name: widened(value) for name, value in features.items()})

    def after_step(self) -> None:
        """Log, refresh, evaluate and save at their periods, on the step that has just been made."""
        step, train, seconds = self.spent.steps, self.config.train, self.training_seconds()
        self.book.begin_step()
        if step % train.log_every == 0:
            left = (seconds - self.seconds_before) * (1 - self.done) / max(self.done - self.done_before, 1e-9)
            self.book.log(self.spent, seconds, self.config.optimizer.lr * self.lr_factor, self.done, left)
        self.refresh()
        due = [one for one in self.evaluations if one.due(step)]
        improved = bool(due) and self.run_evaluation(due)
        if due:
            self.book.check_best(self.evaluations)
        if improved or (train.checkpoint_every and step % train.checkpoint_every == 0):
            self.save()

    def refresh(self) -> None:
        """Let objectives recompute what depends on the whole corpus, where it is their step."""
        for part in self.objective.leaves:
            if part.refresh_every and self.spent.steps % part.refresh_every == 0:
                assert self.embed_corpus is not None, f"{type(part).__name__}.refresh needs documents to embed"
                before = versions(self.parameters)
                part.refresh(self.embed_corpus)
                broadcast_tensors(part.buffers(), self.device)  # each rank made its own, and hosts round differently
                found = zip(self.parameters, before, versions(self.parameters), strict=True)
                forget(self.optimizers, [one for one, earlier, now in found if now != earlier])

    def run_evaluation(self, evaluations: Sequence[Evaluation]) -> bool:
        """Figures into metrics.jsonl, the training clock standing still; returns whether they are the best so far."""
        started, seconds = time.perf_counter(), self.training_seconds()
        figures: dict[str, float] = {}
        for evaluation in evaluations:
            figures |= evaluation.run()
            evaluation.ran = True
        figures["eval/seconds"] = time.perf_counter() - started
        figures = from_first_rank(lambda: figures)  # they decide when all save and stop, and hosts round differently
        self.clock_started += time.perf_counter() - started
        return self.book.add_evaluation(figures, self.spent, seconds, self.done)

    def describe_step(self) -> str:
        steps, loss = self.spent.steps, self.book.step_loss
        return f"{steps:,} steps made, {100 * self.done:.1f} %, loss of the last one {loss:.4f}"

    def take_best(self) -> None:
        """Load the weights of the best checkpoint into the objective, on every rank, where it is not the last one."""
        best = self.book.best
        if best.step not in (None, self.spent.steps):
            words = restore_best(best, self.checkpoints, self.objective)
            if rank() == 0:
                announce(self.console, words)

    def training_seconds(self) -> float:
        """Seconds of training since the run began, over resumes, evaluation apart."""
        return self.seconds_before + time.perf_counter() - self.clock_started

    def save(self) -> None:
        """A checkpoint of this moment; where a rank cannot write its part, every rank says why."""
        self.saved_at = self.spent.steps
        book = self.book.state()

        def state() -> dict[str, Any]:
            if self.book.folder.lost(now=True):
                raise UserError(self.book.folder.words())
            self.spent = replace(self.spent, seconds=round(self.training_seconds(), 3))
            return {
                **position(self.spent, self.spent.seconds),
                **book,
                "resumed_from": self.resumed_from,
                "num_processes": world_size(),
                "threads": torch.get_num_threads(),
                "identity": self.identity,
            }

        checkpoint.save_checkpoint(
            *(self.checkpoints, self.spent.steps, self.objective, self.optimizers, from_first_rank(state)),
            keep=self.config.train.keep_checkpoints,
            best=self.book.best.step,
        )

    def restore(self) -> None:
        """Go on from the checkpoint `resume_from`; without one, begin with an empty metrics.jsonl."""
        newest = self.resume_from
        if newest is None:
            if rank() == 0:
                cut_metrics(self.run, -1)
            return
        state = checkpoint.read_state(newest)
        checkpoint.restore_checkpoint(newest, self.objective, self.optimizers)
        self.spent = Spent(state["step"], state["tokens"], state["seconds"])
        self.saved_at = state["step"]
        self.done = self.done_before = progress(self.config.train, self.spent)
        changed = self.book.restore(state, ended=self.done >= 1.0)
        self.on_progress(self.done)
        unfinished = self.done < 1.0 and not self.book.best.exhausted
        self.resumed_from = state["resumed_from"] + ([state["step"]] if unfinished else [])
        if rank() == 0:
            self.book.figures = cut_metrics(self.run, state["step"])
            announce(self.console, f"going on from {newest} (step {state['step']})")
            if changed:
                announce(self.console, changed, style="yellow")
        self.book.figures = from_first_rank(lambda: self.book.figures)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @property
    def workers(self) -> int:
        chosen = self.config.train.workers
        return chosen if chosen is not None else (2 if self.device.type == "cuda" else 0)
