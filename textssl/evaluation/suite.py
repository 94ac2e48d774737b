"""A suite: which tasks, how many examples and draws; and running one on a model and on what it has to beat.

A new kind of task is one file with a class like `Classification` (name, facts, run, run_majority) and a line in KINDS.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from textssl.config import validate_options
from textssl.errors import UserError
from textssl.evaluation.baselines import Tfidf
from textssl.evaluation.classification import Classification
from textssl.evaluation.encoders import random_encoder
from textssl.evaluation.features import DEFAULT_MAX_TOKENS
from textssl.evaluation.figure import merge

KINDS: dict[str, Callable[..., Any]] = {"classification": Classification}
PACKAGES = ("textssl", "torch", "transformers", "sentence-transformers", "scikit-learn", "numpy")
QUICK_CAPS = {"bbc": (400, 300), "trec": (2000, 700), "sms": (800, 500), "movies": (800, 500)}
FULL_TASKS = ("bbc", "trec", "sms", "movies")


@dataclass(frozen=True)
class Suite:
    """Tasks with what all of them share.

    max_tokens: encoders read the first so many tokens of a text. initialisations: of the untrained model.
    seed: of draws, folds and the first initialisation.
    """

    name: str
    tasks: list[Any]
    max_tokens: int = DEFAULT_MAX_TOKENS
    draws: int = 10
    seed: int = 0
    initialisations: int = 1

    def facts(self) -> dict[str, Any]:
        return {task.name: task.facts() for task in self.tasks}


def load_suite(suite: str | Path) -> Suite:
    """`quick` (capped, 128 tokens, a minute), `full` (all examples, 512 tokens), or a YAML file.

    FILE.yaml: `tasks: [{name: mine, path: mine.csv, kind: classification}, ...]`, paths seen from the file, and
    if wanted max_tokens, draws, shots, seed, initialisations. Raises UserError.
    """
    if str(suite) == "quick":
        tasks = [
            Classification(name, f"sample:{name}", max_train=max_train, max_test=max_test)
            for name, (max_train, max_test) in QUICK_CAPS.items()
        ]
        return Suite("quick", tasks, max_tokens=128)
    if str(suite) == "full":
        tasks = [Classification(name, f"sample:{name}") for name in FULL_TASKS]
        tasks.append(Classification("newsgroups", "sample:newsgroups/train", test="sample:newsgroups/test"))
        return Suite("full", tasks, initialisations=3)
    file = Path(suite)
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"--suite is {suite}: it must be quick, full or a YAML file")
    if not file.is_file():
        raise UserError(f"there is no suite file {file}")
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    if isinstance(values, list):
        values = {"tasks": values}
    if not isinstance(values, dict):
        raise UserError(f"{file} must hold tasks: [{{name: ..., path: ..., kind: classification}}]")
    return _from_values(file, **validate_options(_options, values, str(file)))


def _options(
    tasks: list[dict[str, Any]],
    max_tokens: int = DEFAULT_MAX_TOKENS,
    draws: int = 10,
    shots: list[int] = [8, 64],  # noqa: B006 (read as a schema, never called)
    seed: int = 0,
    initialisations: int = 1,
) -> None:
    """The keys of a suite file."""


def _from_values(
    file: Path,
    tasks: list[dict[str, Any]],
    max_tokens: int,
    draws: int,
    shots: list[int],
    seed: int,
    initialisations: int,
) -> Suite:
    smallest = {
        "max_tokens": max_tokens,
        "draws": draws,
        "initialisations": initialisations,
        "shots": min(shots, default=1),
    }
    for key, value in smallest.items():
        if value < 1:
            raise UserError(f"{file}: {key} is {value}, it must be at least 1")
    if not tasks:
        raise UserError(f"{file} names no task")
    made = []
    for place, task in enumerate(tasks):
        options = dict(task)
        kind = options.pop("kind", "classification")
        if kind not in KINDS:
            raise UserError(f"{file}: tasks.{place}.kind is {kind!r}; there is {', '.join(KINDS)}")
        shared = {"draws": draws, "shots": tuple(shots), "seed": seed}
        options = validate_options(KINDS[kind], {**shared, **options}, f"tasks.{place}")
        for key in ("path", "test"):
            if options.get(key) is not None:
                options[key] = _seen_from(file.parent, options[key])
        made.append(KINDS[kind](**options))
    names = [task.name for task in made]
    if len(set(names)) < len(names):
        raise UserError(f"{file}: two tasks have the same name; the names are {', '.join(names)}")
    return Suite(file.stem, made, max_tokens, draws, seed, initialisations)


def _seen_from(folder: Path, path: str) -> str:
    return path if ":" in path.split("/")[0] else str(folder / path)  # sample:NAME and hf://... stay


def run_suite(encoder: Any, suite: Suite, progress: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(task, {figure name: Figure}) of an encoder: anything with `fit` and `embed`."""
    for task in suite.tasks:
        yield task.name, dict(task.run(encoder, progress and f"{progress}: {task.name}"))


def named_values(encoder: Any, suite: Suite) -> Iterator[tuple[str, float]]:
    """("eval/bbc/probe_8", accuracy) and so on, for a training loop to write down; macro F1 as .../macro_f1."""
    for task in suite.tasks:
        for name, figure in task.run(encoder):
            yield f"eval/{task.name}/{name}", figure.mean
            yield f"eval/{task.name}/{name}/macro_f1", figure.macro_f1.mean


def run_baselines(model: str | Path, suite: Suite, *, progress: bool = True) -> Iterator[tuple[str, dict[str, Any]]]:
    """(baseline, {task: {figure name: Figure}}): "majority", "tfidf", and "random_init", the model untrained."""
    yield "majority", {task.name: dict(task.run_majority()) for task in suite.tasks}
    yield "tfidf", dict(run_suite(Tfidf(), suite))
    runs = []
    for initialisation in range(suite.initialisations):
        encoder = random_encoder(model, seed=suite.seed + initialisation, max_tokens=suite.max_tokens)
        runs.append(dict(run_suite(encoder, suite, "untrained" if progress else None)))
    yield "random_init", _merge(runs)


def _merge(runs: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {
        task: {name: merge([run[task][name] for run in runs]) for name in figures} for task, figures in runs[0].items()
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
