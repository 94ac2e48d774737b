"""Running a suite on a model, and on what the model has to beat."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textssl.evaluation.baselines import RandomWords, Tfidf
from textssl.evaluation.encoders import random_encoder
from textssl.evaluation.features import Encoder
from textssl.evaluation.figure import Accuracy, Figure, merge
from textssl.evaluation.remembered import Remembered
from textssl.evaluation.suite import Suite

PACKAGES = ("textssl", "torch", "transformers", "sentence-transformers", "scikit-learn", "scipy", "numpy")

Figures = dict[str, Figure]  # figure name -> figure


def run_suite(encoder: Any, suite: Suite, progress: str | None = None) -> Iterator[tuple[str, Figures]]:
    """(task, figures) of anything with `fit` and `embed`."""
    for task in suite.tasks:
        yield task.name, dict(task.run(encoder, progress and f"{progress}: {task.name}"))


def named_values(encoder: Encoder, suite: Suite) -> Iterator[tuple[str, float]]:
    """("eval/bbc/probe_8", accuracy), ("eval/sts/spearman", ...) for a training loop to write down.

    The macro F1 of an accuracy follows it as eval/bbc/probe_8/macro_f1.
    """
    for task, figures in run_suite(Remembered(encoder), suite):
        for name, figure in figures.items():
            yield f"eval/{task}/{name}", figure.mean
            if isinstance(figure, Accuracy):
                yield f"eval/{task}/{name}/macro_f1", figure.macro_f1.mean


def run_baselines(
    model: str | Path, suite: Suite, *, progress: bool = True
) -> Iterator[tuple[str, dict[str, Figures]]]:
    """(baseline, {task: figures}) for every task that the baseline is defined for.

    "majority" of classes or "chance": nothing is read; "tfidf" (for clustering its SVD, LSA); "random_words": a random
    vector a word; "random_init": the model untrained.
    """
    for floor in ("majority", "chance"):
        tasks = {task.name: dict(task.run_floor()) for task in suite.tasks if task.floor == floor}
        if tasks:
            yield floor, tasks
    counted = {task.name: dict(task.run(Tfidf(**task.tfidf))) for task in suite.tasks if task.tfidf is not None}
    if counted:
        yield "tfidf", counted
    seeds = range(suite.seed, suite.seed + suite.initialisations)
    yield "random_words", _merge([dict(run_suite(RandomWords(seed=seed), suite)) for seed in seeds])
    runs = []
    for seed in seeds:
        encoder = Remembered(random_encoder(model, seed=seed, max_tokens=suite.max_tokens))
        runs.append(dict(run_suite(encoder, suite, "untrained" if progress else None)))
    yield "random_init", _merge(runs)


def _merge(runs: list[dict[str, Figures]]) -> dict[str, Figures]:
    return {
        task: {name: merge([run[task][name] for run in runs], name) for name in figures}
        for task, figures in runs[0].items()
    }


def versions() -> dict[str, str]:
    """Of Python and of the packages that the figures depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
