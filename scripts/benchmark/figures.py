"""What benchmarks measured, in one form for programs and for people."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """Ours beside one setting of a peer, measured in turns.

    what: was done. peer: who, and its setting. unit: of `ours` and `theirs`, more is better. ratio: ours over theirs,
    the median over rounds of a round's own. cpu_ratio: the same for each CPU second, where both sides were asked; a
    busy machine changes it little.
    """

    what: str
    peer: str
    unit: str
    ours: float
    theirs: float
    ratio: float
    cpu_ratio: float | None = None


def in_turns(
    what: str, peer: str, unit: str, rounds: Sequence[tuple[float, float]], cpu: Sequence[tuple[float, float]] = ()
) -> Figure:
    """A figure from the rounds: (ours, theirs) of each in units, and in units a CPU second."""
    ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
    ratios = [[mine / other for mine, other in pairs] for pairs in (rounds, cpu)]
    return Figure(
        *(what, peer, unit, ours, theirs), statistics.median(ratios[0]), statistics.median(ratios[1]) if cpu else None
    )


def after_warmup(logs: Sequence[dict[str, Any]], warmup: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """The lines of a run's log that a speed is measured between: the first after `warmup` seconds, and the last.

    On a slow machine few lines follow the warmup, or none: then the line before the last, or the start of the run.
    """
    before = [{"step": 0, "tokens": 0, "seconds": 0.0}, *logs[:-1]]
    return next((line for line in before if line["seconds"] > warmup), before[-1]), logs[-1]


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="the figures for programs")


def write(file: Path | None, figures: Sequence[Figure]) -> None:
    """Into a file for programs, if there is one."""
    if file is not None:
        file.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n", encoding="utf-8")


def read(file: Path) -> list[Figure]:
    return [Figure(**found) for found in json.loads(file.read_text(encoding="utf-8"))]


def markdown(figures: Sequence[Figure]) -> str:
    """A table for people."""
    lines = ["| what | peer | ours | theirs | ratio | by CPU seconds |", "|---|---|---:|---:|---:|---:|"]
    for one in figures:
        cpu = "" if one.cpu_ratio is None else f"{one.cpu_ratio:.2f}"
        cells = [one.what, one.peer, f"{number(one.ours)} {one.unit}", number(one.theirs), f"{one.ratio:.2f}", cpu]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
