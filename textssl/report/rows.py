"""The rows (or columns) of result tables: a model, what it is compared with, and each baseline by what it counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

ROWS = {  # key in `baselines` -> words
    "majority": "majority class",
    "chance": "chance",
    "tfidf": "TF-IDF",
    "lsa_mixture": "LSA, mixture",
    "random_words": "random words",
    "random_init": "same, untrained",
}
COUNTING = {"tfidf": "TF-IDF, {}", "random_words": "random {}"}  # the same with what was counted
OTHER = "other model"


class Answer(NamedTuple):
    """A row or column. baseline: its key in results["baselines"], "" for a model. tasks: {task: figures}."""

    baseline: str
    words: str
    tasks: Mapping[str, Any]


def answers(results: Mapping[str, Any], tasks: Iterable[str], named: Mapping[str, str] | None = None) -> list[Answer]:
    """The model, the one it is compared with and each baseline. named: other words for baselines."""
    tasks = list(tasks)
    other = [Answer("", OTHER, results["against"]["tasks"])] if results.get("against") else []
    baselines = results.get("baselines", {})
    words = {name: _row_words(name, _terms(results, name, tasks)) for name in baselines} | dict(named or {})
    found = [Answer(name, words[name], of) for name, of in baselines.items()]
    return [Answer("", "this model", results["tasks"]), *other, *found]


def _terms(results: Mapping[str, Any], baseline: str, tasks: Iterable[str]) -> set[str]:
    """What a baseline counted in these tasks: "words", "characters 1-3"; empty where it counts nothing."""
    of = results.get("baselines", {}).get(baseline, {})
    settings = (figure.get("settings", {}) for task in tasks for figure in of.get(task, {}).values())
    return {setting["terms"] for setting in settings if setting.get("terms")}


def _row_words(name: str, terms: set[str]) -> str:
    """A baseline by name, with what it counted where that is one thing."""
    if len(terms) != 1 or name not in COUNTING:
        return ROWS.get(name) or name
    return COUNTING[name].format(*terms)


def counted(results: Mapping[str, Any], tasks: Iterable[str], named: bool = False) -> list[str]:
    """A caption for each task on what its baselines count; none where the answers' names say it for all tasks.

    named: the answers have other names, which do not say it.
    """
    tasks = list(tasks)
    if not named and all(len(_terms(results, name, tasks)) < 2 for name in COUNTING):
        return []
    terms = {task: set().union(*(_terms(results, name, [task]) for name in COUNTING)) for task in tasks}
    return [f"{task}: baselines count {' or '.join(sorted(of))}" for task, of in terms.items() if of]
