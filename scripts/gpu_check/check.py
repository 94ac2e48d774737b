"""What every part of the check writes down, and where it finds its inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from scripts.gpu_check.part import finding


@dataclass
class Check:
    """One part of the check, in a process of its own.

    work: the folder that `inputs.make` filled. rows: the file that takes a line for each finding as it is made, so that
    a part that hangs later keeps them. dry: on the CPU, at tiny sizes. scratch: a folder of its own.
    """

    part: str
    work: Path
    rows: Path
    dry: bool
    scratch: Path = field(init=False)

    def __post_init__(self) -> None:
        self.scratch = self.work / "scratch" / self.part
        self.scratch.mkdir(parents=True, exist_ok=True)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.dry else "cuda")

    def write(self, name: str, passed: bool | None, value: str, **figures: Any) -> None:
        """A finding, as in `part.finding`."""
        finding(self.rows, self.part, name, passed, value, **figures)
        print(f"{'' if passed is None else 'ok  ' if passed else 'BAD '} {name}: {value}", flush=True)

    def true(self, name: str, passed: bool, value: str = "") -> None:
        self.write(name, bool(passed), value)

    def at_most(self, name: str, value: float, bound: float) -> None:
        """value must be a number no larger than bound."""
        passed = math.isfinite(value) and value <= bound
        self.write(name, passed, f"{value:.2g} (at most {bound:g})", figure=value if math.isfinite(value) else None)

    def measured(self, name: str, value: float, shown: str) -> None:
        self.write(name, None, shown, figure=value)

    def attempt(self, name: str, act: Any, *arguments: Any, **options: Any) -> Any:
        """What `act` returns; an error is a finding that does not stop the part, and gives None."""
        try:
            return act(*arguments, **options)
        except Exception as error:  # whatever goes wrong on a card that nobody has seen is what the check is for
            self.write(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
            return None


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference over the norm of what was expected, in float64 on the CPU."""
    expected = expected.detach().double().cpu()
    return float((found.detach().double().cpu() - expected).norm() / expected.norm().clamp_min(1e-30))
