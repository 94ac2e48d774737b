"""Running a suite on a model and on its baselines."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from textssl.evaluation.baselines import RandomWords, Tfidf
from textssl.evaluation.figures.figure import Accuracy, Figure, merge
from textssl.evaluation.suite import Suite, reads_vectors
from textssl.evaluation.tasks.classification import Classification, Tuner
from textssl.evaluation.tasks.clustering import Clustering
from textssl.evaluation.unfinished import Unfinished
from textssl.inference.encoders import random_encoder
from textssl.inference.feature_cache import Remembered
from textssl.inference.features import Encoder
from textssl.inference.language.scorer import Scorer, random_scorer

PACKAGES = ("textssl", "torch", "transformers", "sentence-transformers", "scikit-learn", "scipy", "numpy")

Figures = dict[str, Figure]  # figure name -> figure


def run_suite(
    encoder: Any,
    suite: Suite,
    progress: str | None = None,
    tuner: Tuner | None = None,
    scorer: Scorer | None = None,
    kept: Unfinished | None = None,
    who: str = "",
) -> Iterator[tuple[str, Figures]]:
    """(task, figures) for anything with `fit` and `embed`.

    scorer: the model as a language model; the tasks that it cannot do are left out (`Suite.suited` says which and why),
    None leaves out all that read one. tuner: trains the model itself on labelled texts, for the figures that a task's
    `tuned` names; None leaves them out. kept: takes and keeps tasks that are finished, under `who` and their name.
    """
    kept = kept or Unfinished()
    for task in suite.suited(scorer)[0].tasks:
        reader = encoder if reads_vectors(task) else scorer
        words = progress and f"{progress}: {task.name}"
        yield task.name, kept.figures(f"{who}: {task.name}", lambda: task_figures(task, reader, words, tuner))  # noqa: B023


def task_figures(task: Any, reader: Any, progress: str | None = None, tuner: Tuner | None = None) -> Figures:
    """Every figure of one task. reader: the encoder or the scorer, whichever the task reads; tuner as in run_suite."""
    figures = dict(task.run(reader, progress))
    if tuner is not None and isinstance(task, Classification):
        figures |= dict(task.run_tuned(tuner))
    return figures


def named_values(encoder: Encoder, suite: Suite, scorer: Scorer | None = None) -> Iterator[tuple[str, float]]:
    """("eval/bbc/probe_8", accuracy), ("eval/sts/spearman", ...) for a training loop to write down.

    scorer: as in run_suite. The macro F1 of an accuracy follows it as eval/bbc/probe_8/macro_f1.
    """
    for task, figures in run_suite(Remembered(encoder), suite, scorer=scorer):
        for name, figure in figures.items():
            yield f"eval/{task}/{name}", figure.mean
            if isinstance(figure, Accuracy):
                yield f"eval/{task}/{name}/macro_f1", figure.macro_f1.mean


def run_baselines(
    model: str | Path,
    suite: Suite,
    *,
    progress: bool = True,
    scratch_tuner: Tuner | None = None,
    kept: Unfinished | None = None,
) -> Iterator[tuple[str, dict[str, Figures]]]:
    """(baseline, {task: figures}) for every task that the baseline is defined for.

    "majority" of classes or "chance": nothing is read; "tfidf": words or characters counted (for clustering its SVD,
    LSA, with k-means); "lsa_mixture": the same with a Gaussian mixture, for clustering; "random_words": a random vector
    a word, or in scripts that do not divide words an n-gram; "random_init": the model untrained. settings["terms"] of
    the figures that count names what was counted. scratch_tuner: trains the untrained model on labelled texts, for the
    figures that a task's `tuned` names; beside those, TF-IDF and the majority show the probe's on as many labels. kept:
    as in run_suite.
    """
    kept = kept or Unfinished()
    for floor in ("majority", "chance"):
        tasks = {task.name: dict(task.run_floor()) for task in suite.tasks if task.floor == floor}
        if tasks:
            yield floor, _beside_tuned(tasks, suite, scratch_tuner)
    counting = [task for task in suite.tasks if task.tfidf is not None]
    counted = {
        task.name: kept.figures(
            f"TF-IDF: {task.name}", lambda task=task: _counted(task.run, Tfidf(**(task.tfidf or {}), seed=suite.seed))
        )
        for task in counting
    }
    if counted:
        yield "tfidf", _beside_tuned(counted, suite, scratch_tuner)
    mixtures = {
        task.name: kept.figures(
            f"LSA, mixture: {task.name}",
            lambda task=task: _counted(task.run_mixture, Tfidf(**(task.tfidf or {}), seed=suite.seed)),
        )
        for task in counting
        if isinstance(task, Clustering)
    }
    if mixtures:
        yield "lsa_mixture", mixtures
    seeds = range(suite.seed, suite.seed + suite.initialisations)
    if any(map(reads_vectors, suite.tasks)):
        yield "random_words", _merge([_random_words(suite, seed, kept) for seed in seeds])
    runs = []
    for seed in seeds:
        encoder = Remembered(random_encoder(model, seed=seed, max_tokens=suite.max_tokens))
        tuner = scratch_tuner if seed == suite.seed else None  # training from scratch is expensive: once
        scorer = random_scorer(model, seed=seed)
        words = "untrained" if progress else None
        runs.append(dict(run_suite(encoder, suite, words, tuner, scorer, kept, f"untrained {seed}")))
    yield "random_init", _merge(runs)


def _counted(run: Callable[[Any], Iterator[tuple[str, Figure]]], counter: Tfidf | RandomWords) -> Figures:
    """The figures of a counter; their settings name what it counted."""
    figures = dict(run(counter))
    terms = counter.terms and counter.terms.name
    return {name: replace(figure, settings={**figure.settings, "terms": terms}) for name, figure in figures.items()}


def _random_words(suite: Suite, seed: int, kept: Unfinished) -> dict[str, Figures]:
    return {
        task.name: kept.figures(
            f"random words {seed}: {task.name}", lambda task=task: _counted(task.run, RandomWords(seed=seed))
        )
        for task in suite.tasks
        if reads_vectors(task)
    }


def _beside_tuned(tasks: dict[str, Figures], suite: Suite, tuner: Tuner | None) -> dict[str, Figures]:
    """The same with the probe's figures also under the names of tuned ones on as many labels."""
    for task in suite.tasks:
        if tuner is not None and isinstance(task, Classification) and task.name in tasks:
            figures = tasks[task.name]
            probes = {name: f"probe_{name.split('_')[1]}" for name in task.tuned}
            figures |= {name: figures[probe] for name, probe in probes.items() if probe in figures}
    return tasks


def _merge(runs: list[dict[str, Figures]]) -> dict[str, Figures]:
    return {
        task: {name: merge([run[task][name] for run in runs if name in run[task]], name) for name in figures}
        for task, figures in runs[0].items()
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the figures depend on."""
    return {"python": platform.python_version(), **{package: installed_version(package) for package in PACKAGES}}


@functools.cache
def installed_version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
