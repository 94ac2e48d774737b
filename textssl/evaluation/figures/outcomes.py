"""What a figure is made of, example by example, as arrays, by which two models are compared, also later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np

from textssl.evaluation.figures.repeated import Repeated, macro_f1_of, of_tables, shares, v_measure_of
from textssl.evaluation.figures.resampling import Statistic, ratio_of, spearman_of
from textssl.system.files import written_file

Measure = Literal["mean", "ratio", "spearman", "parts", "share", "macro_f1", "v_measure"]
FACTS = "facts"
REPEATED = ("share", "macro_f1", "v_measure")


@dataclass(frozen=True)
class Outcomes:
    """How a figure follows from examples. examples: how many there are.

    measure, and its arrays: "mean", (examples,) numbers (booleans: right or wrong). "ratio", the sums of two times
    (examples,). "spearman", the rank correlation of two times (examples,). "parts", the figure without each part of a
    jackknife. "share", (repetitions, examples) right or wrong. "macro_f1" and "v_measure", (examples,) true classes and
    (repetitions, examples) what was predicted or which cluster was found.
    """

    measure: Measure
    examples: int
    arrays: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, measure: Measure, *arrays: np.ndarray) -> Outcomes:
        """From arrays whose last axis is examples, for all measures but "parts"."""
        return cls(measure, arrays[-1].shape[-1], arrays)

    @property
    def repetitions(self) -> int:
        """Draws of labels or starts of k-means; one where nothing is repeated."""
        return len(self.arrays[-1]) if self.measure in REPEATED else 1

    @property
    def values(self) -> np.ndarray | None:
        """(examples,) numbers whose mean is the figure; None for other measures."""
        return self.arrays[0] if self.measure == "mean" else None

    @property
    def left_out(self) -> np.ndarray | None:
        """(parts,) the figure without each part; None for other measures."""
        return self.arrays[0] if self.measure == "parts" else None

    @property
    def repeated(self) -> Repeated | None:
        """Each repetition's figure on resampled examples; None for a measure without repetitions."""
        if self.measure == "share":
            return shares(self.arrays[0])
        if self.measure in ("macro_f1", "v_measure"):
            truth, found = self.arrays
            return of_tables(truth, list(found), macro_f1_of if self.measure == "macro_f1" else v_measure_of)
        return None

    @property
    def statistic(self) -> Statistic | None:
        """The figure on resampled examples, for ratios and rank correlations; None for other measures."""
        if self.measure == "ratio":
            return ratio_of(*self.arrays)
        if self.measure == "spearman":
            return spearman_of(*self.arrays)
        return None


def store(path: Path, outcomes: Mapping[str, Outcomes]) -> None:
    """Write the outcomes of named figures into one .npz file."""
    arrays = {f"{name}#{place}": array for name, one in outcomes.items() for place, array in enumerate(one.arrays)}
    facts = {name: [one.measure, one.examples, len(one.arrays)] for name, one in outcomes.items()}
    with written_file(path) as side, side.open("wb") as file:
        np.savez(file, **{FACTS: np.array(json.dumps(facts))}, **arrays)  # type: ignore[arg-type]


def load(path: Path) -> dict[str, Outcomes]:
    """What `store` has written. Raises OSError where there is no file, ValueError where it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            facts = json.loads(str(kept[FACTS]))
            return {
                name: Outcomes(measure, examples, tuple(kept[f"{name}#{place}"] for place in range(number)))
                for name, (measure, examples, number) in facts.items()
            }
    except (BadZipFile, KeyError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
