"""Finished tasks of an evaluation, kept until all are done, so that an interrupted one resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from textssl.errors import UserError
from textssl.evaluation.figures.figure import Accuracy, Figure
from textssl.evaluation.figures.intervals import Score
from textssl.system.files import write_text
from textssl.system.progress import working

Figures = dict[str, Figure]
SHARED = "threads"  # the key of the number of threads, which all tasks of a start share


class Unfinished:
    """Records of finished tasks by name, in one JSON file that is written after each.

    file: None keeps nothing. A file that cannot be read counts as none. trouble: why nothing could be written, if so.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file, self.trouble = file, None
        self.records: dict[str, Any] = {}
        if file is not None and file.is_file():
            with suppress(OSError, ValueError):
                found = json.loads(file.read_text(encoding="utf-8"))
                self.records = found if isinstance(found, dict) else {}
        self.before = set(self.records) - {SHARED}  # what an earlier start has finished

    def take(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The record of a task, as JSON gives it back: from an earlier start, or made now and kept."""
        if name not in self.records:
            with working(name, bar=False):
                self.put(name, make())
        return self.records[name]

    def note(self, name: str, value: Any) -> None:
        """Keep a value along with the records; it is written with the next of them."""
        self.records[name] = value

    def put(self, name: str, record: Any) -> None:
        """Keep a record."""
        self.records[name] = json.loads(json.dumps(record))  # the same whether it was read or made
        if self.file is not None and self.trouble is None:
            try:
                write_text(self.file, json.dumps(self.records))
            except (UserError, OSError) as error:
                self.trouble = str(error)

    def figures(self, name: str, make: Callable[[], Figures]) -> Figures:
        """`take` for figures; those of an earlier start come back without their outcomes."""
        made: Figures = {}

        def record() -> dict[str, Any]:
            made.update(make())
            return plain_figures(made)

        kept = self.take(name, record)
        return made or {key: figure_of(values) for key, values in kept.items()}

    def clear(self) -> None:
        """Remove the file, since everything is done."""
        if self.file is not None:
            with suppress(OSError):
                self.file.unlink()


def plain_figures(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in figures.items()}


def figure_of(values: Mapping[str, Any]) -> Figure:
    """The figure that `as_dict` gave these values, without its outcomes."""
    if "macro_f1" not in values:
        return Figure(**values)
    return Accuracy(**{**values, "macro_f1": Score(**values["macro_f1"])})


def fingerprint(*facts: Any) -> str:
    """A name for a file of records: changes when any of the facts does."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:24]
