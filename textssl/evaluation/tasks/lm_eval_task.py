"""Tasks of EleutherAI's lm-evaluation-harness: its prompts and arithmetic on a causal model, as a task of a suite.

Needs the extra: pip install 'textssl[eval]'.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from textssl.errors import UserError
from textssl.evaluation.figures.figure import Figure, exact, measured
from textssl.evaluation.figures.intervals import Score, bootstrap
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.resampling import mean_of
from textssl.explanations import nearest
from textssl.inference.features import evaluation_mode
from textssl.inference.language.scorer import LANGUAGE_MODEL, Scorer
from textssl.inference.loading import context_limit, first_line

BATCH_ROWS = 16
FEW_SHOT_SEED = 1234  # the harness's default


class LmEval:
    """Figures TASK/METRIC of tasks of the harness, such as `blimp/acc`; for a group with figures, of the group alone.

    name: the task's. tasks: names of tasks or groups. path: a folder of the harness's YAML files, which needs no
    network; paths in them are relative to the folder, and Python functions that they name are run. Without it the tasks
    that come with the harness, whose data are on the hub. limit: the first so many examples of each task.
    Intervals are over examples, where the metric is a mean of them.
    """

    kind = "lm_eval"
    reads = LANGUAGE_MODEL
    models: ClassVar[tuple[str, ...]] = ("causal",)
    floor = None
    tfidf = None

    def __init__(
        self, name: str, tasks: list[str], *, path: str | None = None, limit: int | None = None, seed: int = 0
    ) -> None:
        self.name, self.tasks, self.path, self.limit, self.seed = name, tasks, path, limit, seed
        for key, wrong in (("tasks", not tasks), ("limit", limit is not None and limit < 1)):
            if wrong:
                raise UserError(f"{name}: {key} is {getattr(self, key)}, it must be at least one")

    @cached_property
    def loaded(self) -> Any:
        """The harness's tasks and groups with their data. Raises UserError."""
        if importlib.util.find_spec("lm_eval") is None:
            raise UserError(f"{self.name}: lm-eval is not installed: pip install -c constraints.txt 'textssl[eval]'")
        from lm_eval.tasks import TaskManager

        if self.path is not None and not Path(self.path).is_dir():
            raise UserError(f"{self.name}: there is no folder {self.path}; path is a folder of lm-eval's YAML files")
        with _silent():
            manager = TaskManager(include_path=self.path, include_defaults=self.path is None)
        for task in self.tasks:
            if task not in manager.all_tasks:
                known = nearest(task, manager.all_tasks) if self.path is None or manager.all_tasks else ""
                raise UserError(f"{self.name}: there is no lm-eval task {task} in {self.path or 'lm-eval'}{known}")
        try:
            with _silent(), contextlib.chdir(self.path or "."):
                return manager.load(self.tasks)
        except Exception as error:  # the harness and the hub's client raise many kinds
            raise UserError(
                f"{self.name}: lm-eval could not load {', '.join(self.tasks)} from {self.path or 'the hub'}: "
                f"{first_line(error)}"
            ) from error

    def facts(self) -> dict[str, Any]:
        """Which tasks, and how many examples each has."""
        sizes = {name: len(task.eval_docs) for name, task in self.loaded["tasks"].items()}
        return {
            "kind": self.kind,
            "source": self.path or "lm-eval",
            "tasks": list(self.tasks),
            "limit": self.limit,
            "examples": {name: min(size, self.limit or size) for name, size in sizes.items()},
        }

    def run(self, scorer: Scorer, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of a causal language model."""
        found = self._evaluate(scorer)
        inside = found["group_subtasks"]
        values = {task: _values(samples) for task, samples in found["samples"].items()}
        summed_up = [group for group in inside if any(_metrics(found["results"].get(group, {})))]
        hidden = {task for group in summed_up for task in _below(group, inside)[1:]}
        if not any(any(_metrics(figures)) for figures in found["results"].values()):
            raise UserError(f"{self.name}: lm-eval gives no figure for {', '.join(self.tasks)}")
        for task, figures in found["results"].items():
            if task in hidden:
                continue
            for metric, chosen, value in _metrics(figures):
                name = f"{task}/{metric}" if chosen == "none" else f"{task}/{chosen}/{metric}"
                parts = [values[part].get((metric, chosen), []) for part in _below(task, inside) if part in values]
                yield name, self._figure(value, [number for part in parts for number in part])

    def _evaluate(self, scorer: Scorer) -> dict[str, Any]:
        from lm_eval.evaluator import evaluate
        from lm_eval.models.huggingface import HFLM

        for task in self.loaded["tasks"].values():
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=FEW_SHOT_SEED)
        with _silent(), evaluation_mode(scorer.model):
            build: Any = HFLM
            model = build(
                pretrained=scorer.model,
                tokenizer=scorer.tokenizer,
                max_length=context_limit(scorer.model.config, scorer.tokenizer),
                batch_size=BATCH_ROWS,
                trust_remote_code=False,
            )
            return evaluate(model, self.loaded, limit=self.limit, bootstrap_iters=0)  # type: ignore[return-value]

    def _figure(self, value: float, numbers: list[float]) -> Figure:
        """With an interval over examples, if the value is the mean of their numbers."""
        each = np.array(numbers, dtype=np.float64)
        if len(each) < 2 or not np.isclose(each.mean(), value):
            return exact(value, len(each))
        low, high = bootstrap(mean_of(each), len(each), self.seed)
        right = each == 1 if np.isin(each, (0, 1)).all() else each
        return measured(Score(value, low, high), "test examples", len(each), outcomes=Outcomes.of("mean", right))

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """Nothing: what chance gives differs from task to task."""
        yield from ()


def _metrics(figures: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(metric, filter, value) of what the harness says about a task, under keys such as `acc,none`."""
    for key, value in figures.items():
        metric, comma, chosen = key.partition(",")
        if comma and not metric.endswith("_stderr") and isinstance(value, int | float):
            yield metric, chosen, float(value)


def _values(samples: list[dict[str, Any]]) -> dict[tuple[str, str], list[float]]:
    """(metric, filter) -> the number of each example, of metrics that give one."""
    found: dict[tuple[str, str], list[float]] = {}
    for sample in samples:
        for metric in sample["metrics"]:
            if isinstance(sample[metric], int | float | np.number):
                found.setdefault((metric, sample["filter"]), []).append(float(sample[metric]))
    return found


def _below(name: str, inside: dict[str, list[str]]) -> list[str]:
    """A task or group, and all that is below it."""
    return [name, *(task for part in inside.get(name, []) for task in _below(part, inside))]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The harness's progress bars and advice stay off the terminal; what goes wrong is raised."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
