"""What is measured during a run, at which period, and which figure says that a checkpoint is the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from textssl.errors import UserError
from textssl.evaluation.figures.figure import METRICS
from textssl.training import checkpoint

LOSS = "eval/loss"
LOWER_IS_BETTER = (
    *("loss", "calibration_error", "mse", "mae"),
    *("alignment", "uniformity"),  # which tables do not rank: lower is better, but only of both together
    *(name for name, metric in METRICS.items() if metric.less_is_better),
)
OF_LABELS = ("accuracy", "macro_f1", "mcc", "pearson", "spearman")  # eval/NAME of fine-tuning: higher is better


@dataclass
class Evaluation:
    """Figures named eval/...; `run` is called on every rank and gives the same on all.

    every: steps; None: at the end alone. mark: a figure that it always gives.
    """

    run: Callable[[], dict[str, float]]
    every: int | None
    mark: str
    ran: bool = False

    def due(self, step: int) -> bool:
        return self.every is not None and step % self.every == 0


@dataclass
class Best:
    """The best value so far of one figure; without a figure nothing is ever better.

    patience: evaluations without a better value after which a run ends. step, figures: of the best evaluation. stale:
    evaluations since.
    """

    figure: str | None
    patience: int | None = None
    step: int | None = None
    figures: dict[str, float] = field(default_factory=dict)
    stale: int = 0

    def look(self, figures: Mapping[str, float], step: int) -> bool:
        """Whether these figures are the best so far; of equal ones those with the lower loss, which patience ignores.

        Figures without the one that is looked at do not count.
        """
        if self.figure is None or self.figure not in figures:
            return False
        value = figures[self.figure]
        if self.step is None or better(self.figure, value, self.figures[self.figure]):
            self.step, self.figures, self.stale = step, dict(figures), 0
            return True
        self.stale += 1
        if value == self.figures[self.figure] and figures.get(LOSS, math.inf) < self.figures.get(LOSS, math.inf):
            self.step, self.figures = step, dict(figures)
            return True
        return False

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.stale >= self.patience

    def state(self) -> dict[str, Any]:
        return {"figure": self.figure, "step": self.step, "figures": self.figures, "stale": self.stale}

    def restore(self, state: Mapping[str, Any] | None, *, ended: bool) -> str | None:
        """Take up a saved state; returns a message for the user where another figure was looked at then.

        ended: no evaluation is to come. Raises UserError where nothing is left to choose from.
        """
        before = state["figure"] if state else None
        if state and before == self.figure:
            self.step, self.figures, self.stale = state["step"], dict(state["figures"]), state["stale"]
        elif self.figure is not None:
            chose = f"chose by {before}" if before else "kept its last weights"
            if ended:
                raise UserError(
                    f"this run has ended and {chose}; evaluation.best={self.figure} comes too late: name another "
                    "out=, start over with train.resume=restart, or take its last weights without evaluation.best"
                )
            return f"evaluation.best is now {self.figure}: this run {chose} so far, and chooses among what is to come"
        return None

    def summary(self) -> dict[str, Any] | None:
        """Figure, value and step; None where nothing was looked for."""
        if self.step is None:
            return None
        return {"figure": self.figure, "value": self.figures[str(self.figure)], "step": self.step}

    def check(self, seen: set[str], evaluations: list[Evaluation]) -> None:
        """Raise UserError where every evaluation has run and none gives the figure."""
        if self.figure is not None and self.figure not in seen and all(one.ran for one in evaluations):
            found = ", ".join(sorted(name for name in seen if not name.endswith("seconds"))) or "none"
            raise UserError(f"evaluation.best is {self.figure}, but the figures of this run are {found}")


def better(figure: str, value: float, than: float) -> bool:
    """Whether a value is strictly better; NaN never is, and is worse than any number."""
    if math.isnan(than):
        return not math.isnan(value)
    return value < than if lower_is_better(figure) else value > than


def lower_is_better(figure: str) -> bool:
    """Of eval/TASK/FIGURE by the figure's name; of eval/NAME, which are a run's own, all but OF_LABELS: losses, the
    terms of a loss of several under the names that the objective gives them, and what costs time."""
    _, task, name = figure.removeprefix("eval/").rpartition("/")
    return name in LOWER_IS_BETTER if task else name not in OF_LABELS


def restore_best(best: Best, folder: Path, module: nn.Module) -> str:
    """Load the best checkpoint's weights, on every rank; returns a line that says so. Raises UserError."""
    path = checkpoint.step_folder(folder, int(best.step or 0))
    if (reason := checkpoint.broken(path)) is not None:
        raise UserError(f"the best checkpoint {path} is broken ({reason}): start over with train.resume=restart")
    checkpoint.restore_weights(path, module)
    return f"taking the weights of step {best.step}, the best by {best.figure} {best.figures[str(best.figure)]:.4f}"
