"""The final figures of a run: RUN/summary.json for programs, one line for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from textssl import distributed
from textssl.system.files import write_text
from textssl.training.tracking import duration, finite
from textssl.training.trainer import Trainer


@dataclass
class Summary:
    """The final figures of a run, as in RUN/summary.json.

    loss: on held-out text where there is any (else the last training loss), in nats per item. bits_per_byte: None where
    the loss is not a code length. tokens: non-padding tokens through the trained backbone. seconds: of training.
    parameters: trained ones, heads of the objective included. best: figure, value and step of the checkpoint that was
    exported, where evaluation.best names a figure; loss and bits are then those of that step, None where they were not
    measured there. stopped_early: evaluation.patience ended the run. overlap: texts of evaluation.suite that stand in
    the training corpus, by task.
    """

    run: str
    loss: float | None
    train_loss: float | None
    bits_per_byte: float | None
    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float
    parameters: int
    num_processes: int
    skipped_steps: int
    resumed_from: list[int]
    stopped_by: str | None
    device: str
    precision: str
    best: dict[str, Any] | None = None
    stopped_early: bool = False
    overlap: dict[str, Any] = field(default_factory=dict)

    def write(self) -> None:
        write_summary(self.run, asdict(self))

    def line(self) -> str:
        """What the end of a run says on the terminal."""
        if self.stopped_by:
            return f"stopped by {self.stopped_by} after step {self.steps}, saved; start again to continue"
        loss = "" if self.loss is None else f"loss {self.loss:.4f}, "
        bits = "" if self.bits_per_byte is None else f"{self.bits_per_byte:.4f} bits per byte, "
        spent = f"{self.tokens:,} tokens in {duration(self.seconds)} ({self.tokens_per_second:,.0f} tokens/s)"
        return f"done: {loss}{bits}{spent}; model in {Path(self.run) / 'model'}"


def write_summary(run: str | Path, values: dict[str, Any]) -> None:
    """RUN/summary.json; figures that are not finite, which JSON cannot hold, are null."""
    text = json.dumps(finite(values), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(Path(run) / "summary.json", text + "\n")


def summarize(trainer: Trainer, stopped_by: str | None) -> Summary:
    best, spent, figures = trainer.book.best, trainer.spent, trainer.book.exported_figures
    train_loss = trainer.book.figures.get("train/loss")
    return Summary(
        run=str(trainer.run),
        loss=figures.get("eval/loss", train_loss if best.step is None else None),
        train_loss=train_loss,
        bits_per_byte=figures.get("eval/bits_per_byte"),
        steps=spent.steps,
        tokens=spent.tokens,
        seconds=round(spent.seconds, 3),
        tokens_per_second=round(spent.tokens / max(spent.seconds, 1e-9), 1),
        parameters=sum(parameter.numel() for parameter in trainer.parameters),
        num_processes=distributed.world_size(),
        skipped_steps=trainer.book.skipped_steps,
        resumed_from=trainer.resumed_from,
        stopped_by=stopped_by,
        device=str(trainer.device),
        precision=trainer.precision,
        best=best.summary(),
        stopped_early=best.exhausted,
    )
