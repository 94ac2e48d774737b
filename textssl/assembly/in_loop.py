"""Tasks of an evaluation suite during a run: on the model as it would be exported at that moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from textssl import distributed
from textssl.assembly.seen_texts import look_for, suite_texts, with_tokenizer
from textssl.data.corpus.corpus import Corpus
from textssl.errors import UserError
from textssl.evaluation.measure import named_values
from textssl.evaluation.suite import Suite, load_suite
from textssl.inference.encoders import load_encoder
from textssl.inference.language.scorer import Scorer, folder_scorer
from textssl.objectives.base import Objective
from textssl.sections import Config, EvaluationConfig
from textssl.sharding import gathered
from textssl.system.files import scratch_folder
from textssl.training.evaluations import Evaluation

log = logging.getLogger(__name__)
SECONDS = "eval/suite_seconds"


def suite_evaluation(config: Config, objective: Objective, words: Any) -> list[Evaluation]:
    """evaluation.suite as an evaluation of the trainer; none where it is not given. Raises UserError.

    The first rank does the tasks while the others wait, for train.timeout_seconds at most. The figures are those that
    `textssl evaluate` gives on the exported folder, without those of fine-tuning.
    """
    if config.evaluation.suite is None:
        if config.evaluation.tasks is not None:
            raise UserError("evaluation.tasks chooses among the tasks of evaluation.suite: name one, such as quick")
        return []
    suite = chosen_tasks(load_suite(config.evaluation.suite), config.evaluation.tasks)
    distributed.from_first_rank(suite.facts)  # a task whose data are wrong stops the run before its first step
    check_best(config.evaluation, suite, objective)
    if any(getattr(task, "tuned", ()) for task in suite.tasks):
        log.warning("evaluation.suite: figures of fine-tuning are left out during a run; `textssl evaluate` has them")
    told: set[str] = set()  # tasks whose absence was announced

    def measure() -> dict[str, float]:
        with scratch_folder() as folder:
            path = folder / "model"
            objective.export(path, words)
            scorer = folder_scorer(path)
            possible, left_out = suite.suited(scorer)
            for task in left_out.keys() - told:
                log.warning("evaluation.suite: %s is left out: %s", task, left_out[task])
            told.update(left_out)
            return dict(named_values(load_encoder(path, max_tokens=suite.max_tokens), possible, scorer))

    def run() -> dict[str, float]:
        started = time.perf_counter()
        with gathered(objective):
            figures = distributed.from_first_rank(measure)
        return {**figures, SECONDS: time.perf_counter() - started}

    return [Evaluation(run, config.evaluation.suite_every, SECONDS)]


def suite_overlap(config: Config, objective: Objective, words: Any, corpora: Sequence[Corpus]) -> dict[str, Any]:
    """Texts of evaluation.suite that stand in the training corpora, looked for by the first rank; {} where either is
    missing."""
    if config.evaluation.suite is None or not corpora:
        return {}
    suite = chosen_tasks(load_suite(config.evaluation.suite), config.evaluation.tasks)
    scorer = None
    kind = objective.backbone_kind
    if kind in ("causal", "masked"):  # only its tokenizer is asked for
        diffusion = any(part.pretext is not None and part.pretext.objective == "diffusion" for part in objective.leaves)
        scorer = Scorer(kind, lambda: (None, words), diffusion)  # type: ignore[arg-type, return-value]
    plan, _ = suite.suited(scorer)
    return distributed.from_first_rank(lambda: look_for(suite_texts(plan, scorer), with_tokenizer(corpora, words)))


def check_best(given: EvaluationConfig, suite: Suite, objective: Objective) -> None:
    """Raise UserError where evaluation.best names a figure that the suite lacks, or measures only once, at the end."""
    best = given.best or ""
    tasks = {task.name: task for task in suite.tasks}
    name, _, figure = best.removeprefix("eval/").partition("/")
    if not figure or name in objective.parts:
        return
    if name not in tasks:
        raise UserError(
            f"evaluation.best is {best}: there is no task {name} in evaluation.suite; {', '.join(tasks)} are"
        )
    known = distributed.from_first_rank(lambda: [one for one, _ in tasks[name].run_floor()])
    if known and figure.removesuffix("/macro_f1") not in known:
        raise UserError(f"evaluation.best is {best}: the figures of {name} are {', '.join(known)}")
    if given.suite_every is None:
        raise UserError(f"evaluation.best is {best}, measured at the end alone: say evaluation.suite_every, in steps")


def chosen_tasks(suite: Suite, names: list[str] | None) -> Suite:
    if names is None:
        return suite
    known = {task.name: task for task in suite.tasks}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"evaluation.tasks: there is no {unknown[0]} in the suite {suite.name}; it has {', '.join(known)}"
        )
    return replace(suite, tasks=[known[name] for name in names])
