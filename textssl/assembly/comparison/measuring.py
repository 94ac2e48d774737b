"""What is measured of an entry: figures, how surely they beat the baselines, curves, a map of the same texts."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from textssl.assembly.comparison.entries import Entry
from textssl.assembly.comparison.start import begins_learned, export_start
from textssl.assembly.measured import Side
from textssl.assembly.tuner import folder_tuner
from textssl.evaluation.baselines import Tfidf, lsa
from textssl.evaluation.exploring import PERPLEXITY, neighbour_map
from textssl.evaluation.figures.outcomes import Outcomes, store
from textssl.evaluation.figures.paired import adjusted, task_differences
from textssl.evaluation.measure import Figures, run_suite
from textssl.evaluation.suite import Suite
from textssl.evaluation.tasks.classification import Classification
from textssl.evaluation.tasks.clustering import Clustering
from textssl.inference.encoders import random_encoder
from textssl.inference.feature_cache import Remembered
from textssl.inference.language.scorer import random_scorer

SHOTS = (2, 4, 8, 16, 32, 64)  # labels a class of the curve of label efficiency
SCRATCH = ("finetune_8", "finetune_64", "finetune_all")
MAP_TEXTS = 300
CURVES = ("train/loss", "eval/loss", "features/rankme", "features/mean_cosine", "features/normalised_std")
LEARNED = re.compile(r"eval/[^/]+/probe_\d+")  # figures of evaluations while training, where a configuration wants them
POINTS = 200  # of a curve


def compared_suite(suite: Suite) -> Suite:
    """The same with more label counts in its first classification task, for the curve."""
    tasks = [copy.copy(task) for task in suite.tasks]
    first = first_classification(tasks)
    if first is not None:
        first.shots = tuple(sorted({*SHOTS, *first.shots}))
    return replace(suite, tasks=tasks)


def first_classification(tasks: list[Any]) -> Classification | None:
    return next((task for task in tasks if isinstance(task, Classification)), None)


def named(tasks: Mapping[str, Figures]) -> dict[str, dict[str, float]]:
    """{"bbc/probe_8": {"mean": .., "low": .., "high": ..}}."""
    return {
        f"{task}/{name}": {"mean": figure.mean, "low": figure.low, "high": figure.high}
        for task, figures in tasks.items()
        for name, figure in figures.items()
    }


Measured = tuple[dict[str, Figures], list[list[float]]]  # figures and map


class References:
    """What entries are measured beside, made once in a program: TF-IDF, the random weights of each backbone, and what
    it starts from where that is more."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.untrained: dict[str, Measured] = {}
        self.starts: dict[tuple[str, int, str], Measured] = {}

    @cached_property
    def tfidf(self) -> dict[str, Figures]:
        return counted(self.suite, lambda task: task.run)

    def random(self, backbone: str, model: Path, suite: Suite) -> Measured:
        """The architecture in a model folder, with fresh weights."""
        key = f"{backbone} {task_names(suite)}"
        if key not in self.untrained:
            encoder = Remembered(random_encoder(model, seed=suite.seed, max_tokens=suite.max_tokens))
            scorer = random_scorer(model, seed=suite.seed)
            figures = dict(run_suite(encoder, suite, "untrained", scorer=scorer))
            self.untrained[key] = figures, drawn(encoder.embed, suite)
        return self.untrained[key]

    def start(self, entry: Entry, suite: Suite) -> Measured | None:
        """The model before the first step of an entry; None where that is random weights. suite: what it can do."""
        if not begins_learned(entry.config.model):
            return None
        key = entry.backbone, entry.seed, task_names(suite)  # of two objectives one may have a head for language
        if key not in self.starts:
            with TemporaryDirectory() as folder:
                export_start(entry, Path(folder))
                self.starts[key] = measured(Side.of(Path(folder), self.suite), self.suite)
        return self.starts[key]


def task_names(suite: Suite) -> str:
    return str(sorted(task.name for task in suite.tasks))


def counted(suite: Suite, act: Callable[[Any], Callable[[Any], Any]]) -> dict[str, Figures]:
    """The figures of TF-IDF in the tasks that it is defined for. act: gives the method of a task that takes it."""
    tasks = [task for task in suite.tasks if task.tfidf is not None]
    return {task.name: dict(act(task)(Tfidf(**(task.tfidf or {}), seed=suite.seed))) for task in tasks}


def measured(side: Side, suite: Suite) -> Measured:
    """The figures of a model folder and its map."""
    return {name: side.measure(name)[0] for name in side.tasks}, drawn(side.encoder.embed, suite)


def measure(entry: Entry, references: References) -> dict[str, Any]:
    """Figures of a trained entry, their differences from its random weights, from what it started from where that is
    more, and from TF-IDF, and its map. Stores the outcomes behind the figures, to compare them with those of others."""
    model = entry.run / "model"
    side = Side.of(model, references.suite)
    found, places = measured(side, references.suite)
    store(entry.outcomes, outcomes_of(found))
    record = {
        "figures": named(found),
        "above_tfidf": differences(found, references.tfidf),
        "skipped": side.skipped,
        "map": places,
    }
    for name, beside in {
        "random": references.random(entry.backbone, model, side.plan),
        "start": references.start(entry, side.plan),
    }.items():
        if beside is not None:
            record[f"above_{name}"] = differences(found, beside[0])
            record[name] = {"figures": named(beside[0]), "map": beside[1]}
    return record


def outcomes_of(found: Mapping[str, Figures]) -> dict[str, Outcomes]:
    """{"bbc/probe_8": outcomes} of the figures that have any."""
    return {
        f"{task}/{name}": figure.outcomes
        for task, figures in found.items()
        for name, figure in figures.items()
        if figure.outcomes is not None
    }


def differences(ours: Mapping[str, Figures], theirs: Mapping[str, Figures]) -> dict[str, dict[str, float | None]]:
    """{"bbc/probe_8": {"difference", "low", "high", "p"}}, p adjusted for all of them (Holm)."""
    each = {task: task_differences(figures, theirs.get(task, {}), macro_f1=False) for task, figures in ours.items()}
    return {
        f"{task}/{name}": {"difference": one.difference, "low": one.low, "high": one.high, "p": one.p_holm}
        for task, found in adjusted({task: found for task, found in each.items() if found}).items()
        for name, one in found.items()
    }


def supervised(model: Path, suite: Suite) -> Figures:
    """The architecture trained from random weights on 8, 64 and all labels a class of the first classification task,
    under the names of the probes on as many."""
    task = copy.copy(first_classification(suite.tasks))
    assert task is not None
    task.tuned, task.tuned_draws = SCRATCH, 3
    found = dict(task.run_tuned(folder_tuner(model, scratch=True)))
    return {name.replace("finetune", "probe"): figure for name, figure in found.items()}


def map_texts(suite: Suite) -> tuple[list[str], list[str]]:
    """The texts on the map of every entry, and their classes: those of the clustering task, or none."""
    task = next((task for task in suite.tasks if isinstance(task, Clustering)), None)
    if task is None:
        return [], []
    texts, classes, numbers = task.examples
    return texts[:MAP_TEXTS], [classes[number] for number in numbers[:MAP_TEXTS]]


def drawn(embed: Callable[[list[str]], Any], suite: Suite) -> list[list[float]]:
    """(texts, 2) coordinates of the texts on a map of neighbours; [] for too few texts."""
    texts, _ = map_texts(suite)
    if len(texts) <= PERPLEXITY:
        return []
    return [[round(float(x), 2), round(float(y), 2)] for x, y in neighbour_map(embed(texts))]


def tfidf_map(suite: Suite) -> list[list[float]]:
    def embed(texts: list[str]) -> np.ndarray:
        counter = Tfidf(seed=suite.seed)
        counter.fit(texts)
        return lsa(counter.embed(texts), suite.seed)

    return drawn(embed, suite)


def curves(run: Path) -> dict[str, list[list[float]]]:
    """{"train/loss": [[tokens, seconds, value], ...], ...} of a run's metrics, thinned."""
    found: dict[str, list[list[float]]] = {}
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        values = json.loads(line)
        for name in values:
            if (name in CURVES or LEARNED.fullmatch(name)) and values[name] is not None:
                found.setdefault(name, []).append([values["tokens"], values["seconds"], round(values[name], 4)])
    return {name: points[:: max(1, len(points) // POINTS)] for name, points in found.items()}
