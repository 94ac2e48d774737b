"""A model under evaluation: its tasks, what each of them measures, and where finished tasks are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from textssl.assembly.tuner import suite_tuners
from textssl.data.samples.cache import cache_folder
from textssl.evaluation.measure import Figures, task_figures, versions
from textssl.evaluation.suite import Suite, reads_vectors
from textssl.evaluation.tasks.classification import Tuner
from textssl.evaluation.unfinished import Unfinished, fingerprint, plain_figures
from textssl.inference.encoders import load_encoder
from textssl.inference.feature_cache import Remembered
from textssl.inference.language.scorer import Scorer, folder_scorer
from textssl.inference.loading import default_device, model_hash, weights_hash
from textssl.report.table import LANGUAGE
from textssl.system.terminal import Terminal
from textssl.training.tracking import announce

FOLDER = "evaluations"  # in the cache folder
OURS, HELD_OUT = "this model: ", "held-out text "  # how the names of records begin


@dataclass
class Side:
    """One model and the tasks that it can do. skipped: those that it cannot, with the reason."""

    folder: Path
    plan: Suite
    skipped: dict[str, str]
    scorer: Scorer | None

    def __post_init__(self) -> None:
        self.tuners: tuple[Tuner | None, Tuner | None] = suite_tuners(self.folder, self.plan, self.skipped)
        self.facts = self.plan.facts()
        self.tasks = {task.name: task for task in self.plan.tasks}

    @classmethod
    def of(cls, folder: Path, suite: Suite) -> Side:
        scorer = folder_scorer(folder)
        return cls(folder, *suite.suited(scorer), scorer)

    @cached_property
    def encoder(self) -> Remembered:
        return Remembered(load_encoder(self.folder, max_tokens=self.plan.max_tokens))

    def described(self, name: str) -> dict[str, Any]:
        """What is written about it next to its figures."""
        return {
            "model": name,
            "weights_hash": weights_hash(self.folder),
            "skipped": self.skipped,
            "data": self.facts,
            "tasks": {},
        }

    def measure(self, name: str) -> tuple[Figures, dict[str, Any]]:
        """The figures of a task with their outcomes, and the record to keep: plain figures, and how much was read."""
        task = self.tasks.get(name)
        if task is None:  # the other model can do it
            return {}, {}
        reader = self.encoder if reads_vectors(task) else self.scorer
        figures = task_figures(task, reader, f"reading: {name}", self.tuners[0])
        if task.kind in LANGUAGE:
            read = next(iter(figures.values())).settings
        else:
            reading = self.encoder.take_reading()
            read = {
                "truncated_share": reading.truncated_share,
                "max_tokens": self.encoder.max_tokens,
                "tokens": reading.tokens,
            }
        return figures, {"figures": plain_figures(figures), "read": read}

    def add(self, results: dict[str, Any], name: str, record: dict[str, Any]) -> None:
        """Put what was kept of a task into the results."""
        if record:
            results["tasks"][name] = record["figures"]
            results["data"][name] |= record["read"]


def unfinished_file(
    suite: dict[str, Any], sources: Iterable[str | Path], facts: dict[str, Any], *folders: Path | None
) -> Path:
    """The file of an evaluation's finished tasks: another one for other weights, tasks, data, versions or devices.

    suite: its options. sources: its data files. facts: of the tasks. folders: of the models.
    """
    models = [folder and model_hash(folder) for folder in folders]
    name = fingerprint(suite, file_facts(sources), facts, models, versions(), default_device().type)
    return cache_folder() / FOLDER / f"{name}.json"


def file_facts(sources: Iterable[str | Path]) -> list[Any]:
    """Path, size and modification time of each file, which change with its content, and of all files in a folder, such
    as a prepared corpus; other names count as they are."""
    found = []
    for source in map(Path, sources):
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            stat = file.stat() if file.is_file() else None
            found.append([str(file), stat and [stat.st_size, stat.st_mtime_ns]])
    return found


def announce_kept(kept: Unfinished, names: Iterable[str]) -> None:
    """Say which tasks an earlier start has finished. names: of all tasks."""
    names = list(names)
    done = sum(f"{OURS}{name}" in kept.before for name in names)
    read = any(record.startswith(HELD_OUT) for record in kept.before)
    baselines = len(kept.before) - done - read
    if kept.before:
        beside = f"{' and the held-out text' * read}{f' and {baselines:,} of baselines' if baselines else ''}"
        words = f"{done} of {len(names)} tasks{beside} are taken from an earlier, unfinished evaluation"
        announce(Terminal(stderr=True), words)
