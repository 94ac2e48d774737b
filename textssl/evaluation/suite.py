"""A suite: which tasks, how many examples and draws. Three have names, others come out of a YAML file."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from textssl.config import validate_options
from textssl.errors import UserError
from textssl.evaluation.figures.figure import Figure
from textssl.evaluation.suite_file import read_suite_file
from textssl.evaluation.tasks.classification import Classification
from textssl.evaluation.tasks.clustering import Clustering
from textssl.evaluation.tasks.geometry_task import Geometry
from textssl.evaluation.tasks.language_modelling import Language
from textssl.evaluation.tasks.lm_eval_task import LmEval
from textssl.evaluation.tasks.minimal_pairs import MinimalPairs
from textssl.evaluation.tasks.retrieval import Retrieval
from textssl.evaluation.tasks.similarity import Similarity, WordSimilarity
from textssl.inference.features import DEFAULT_MAX_TOKENS
from textssl.inference.language.scorer import VECTORS, Scorer

KINDS: dict[str, Callable[..., Any]] = {
    kind.kind: kind
    for kind in (
        *(Classification, Similarity, WordSimilarity, Clustering, Retrieval, Geometry),
        *(Language, MinimalPairs, LmEval),
    )
}
QUICK_CAPS = {"bbc": (400, 300), "trec": (2000, 700), "sms": (800, 500), "movies": (800, 500)}
FULL_TASKS = ("bbc", "trec", "sms", "movies")
FULL_TEXTS = ("bbc", "movies", "aws-docs")
COUNTS = ("shots", "draws", "starts", "initialisations", "tuned_draws")  # that are 1 at least, like every max_...
LARGEST_SEED = 2**32 - 1000  # of numpy's older generators; tasks count on from it
QUICK_CLUSTERED, QUICK_DOCUMENTS = 300, 500


class Task(Protocol):
    """A kind of task: one file with one class, which stands in KINDS.

    floor: the baseline that reads nothing, "majority" or "chance", or None. tfidf: the options of its Tfidf baseline,
    or None where counting words gives no answer. A task that reads a language model and no vectors says so with
    `reads`, and names the kinds that it can read ("causal", "masked") in `models`; its `run` takes a Scorer.
    """

    name: str
    kind: str
    floor: str | None
    tfidf: dict[str, bool] | None

    def facts(self) -> dict[str, Any]:
        """Kind, source and how many examples. Raises UserError where the data does not suit the kind."""
        ...

    def run(self, encoder: Any, progress: str | None = None) -> Iterator[tuple[str, Figure]]:
        """(name, figure) of anything with `fit` and `embed`."""
        ...

    def run_floor(self) -> Iterator[tuple[str, Figure]]:
        """The same names for the baseline that reads nothing."""
        ...


@dataclass(frozen=True)
class Suite:
    """Tasks with what all of them share.

    max_tokens: encoders read the first so many tokens of a text. initialisations: of the untrained model and of random
    word vectors. seed: of draws, folds, starts, resamples and the first initialisation.
    """

    name: str
    tasks: list[Any]  # Task; Any, since a class attribute does not count as a protocol's variable
    max_tokens: int = DEFAULT_MAX_TOKENS
    draws: int = 10
    seed: int = 0
    initialisations: int = 1

    def facts(self) -> dict[str, Any]:
        return {task.name: task.facts() for task in self.tasks}

    def suited(self, scorer: Scorer | None) -> tuple[Suite, dict[str, str]]:
        """The suite without the tasks that a model cannot do, and {task: why not} for those.

        scorer: the model as a language model; None for one without a causal or masked language-model head.
        """
        reasons = {task.name: why_not(task, scorer) for task in self.tasks}
        left_out = {name: reason for name, reason in reasons.items() if reason is not None}
        kept = [copy.copy(task) for task in self.tasks if task.name not in left_out]  # a model may change its own
        return replace(self, tasks=kept), left_out


def reads_vectors(task: Any) -> bool:
    """Whether a task reads vectors of texts, and no language model."""
    return getattr(task, "reads", VECTORS) == VECTORS


def why_not(task: Any, scorer: Scorer | None) -> str | None:
    """Why a model cannot do a task; None where it can."""
    if reads_vectors(task):
        return None
    if scorer is None:
        return "the model has no causal or masked language-model head"
    if scorer.kind not in task.models:
        return f"{task.kind} is for {' or '.join(task.models)} models, this one is {scorer.kind}"
    return None


def quick() -> Suite:
    """Few examples, and 128 tokens of each text: a minute for a small model."""
    return Suite(
        "quick",
        [
            *(
                Classification(name, f"sample:{name}", max_train=max_train, max_test=max_test)
                for name, (max_train, max_test) in QUICK_CAPS.items()
            ),
            Similarity("sts", "sample:sts/dev"),  # the training part is for training
            WordSimilarity("wordsim", "sample:wordsim"),
            Clustering("bbc-clustering", "sample:bbc", max_texts=QUICK_CLUSTERED),
            Retrieval("news-retrieval", "sample:news", max_documents=QUICK_DOCUMENTS),
            Geometry("news-geometry", "sample:news", max_documents=QUICK_DOCUMENTS),
            Language("bbc-text", "sample:bbc", domain="out", max_bytes=64_000, max_masked_bytes=4_000),
            MinimalPairs("agreement"),
        ],
        max_tokens=128,
    )


def full() -> Suite:
    """All examples, 512 tokens of each text."""
    return Suite(
        "full",
        [
            *(Classification(name, f"sample:{name}") for name in FULL_TASKS),
            Classification("newsgroups", "sample:newsgroups/train", test="sample:newsgroups/test"),
            Similarity("sts", "sample:sts/dev"),
            WordSimilarity("wordsim", "sample:wordsim"),
            Clustering("bbc-clustering", "sample:bbc"),
            Clustering("newsgroups-clustering", "sample:newsgroups/test"),
            Retrieval("news-retrieval", "sample:news"),
            Geometry("news-geometry", "sample:news"),
            *(Language(f"{name}-text", f"sample:{name}", domain="out") for name in FULL_TEXTS),
            MinimalPairs("agreement"),
        ],
        initialisations=3,
    )


def tuned() -> Suite:
    """The whole model trained on labels, all and eight a class, beside the probe: an hour for a small model."""
    figures = ("finetune_all", "finetune_8", "contrast_8")
    return Suite("tuned", [Classification(name, f"sample:{name}", tuned=figures) for name in FULL_TASKS])


SUITES: dict[str, Callable[[], Suite]] = {"quick": quick, "full": full, "tuned": tuned}
ENGLISH = (
    "All texts of the suites quick, full and tuned are English: for another language, give a suite file of your own."
)


def load_suite(suite: str | Path) -> Suite:
    """A suite by its name in SUITES, or from a YAML file.

    FILE.yaml: `tasks: [{name: mine, path: mine.csv, kind: classification}, ...]`, paths relative to it, and
    optionally max_tokens, draws, shots, seed, initialisations. A task has the options of its kind's class.
    Raises UserError.
    """
    named = SUITES.get(str(suite))
    return named() if named else _read(Path(suite))


def _read(file: Path) -> Suite:
    """The suite that a YAML file describes. Raises UserError."""
    return _from_values(file, **validate_options(_options, read_suite_file(file), "", str(file)))


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
    shared = {"draws": draws, "shots": tuple(shots), "seed": seed}
    for key, value in {**shared, "max_tokens": max_tokens, "initialisations": initialisations}.items():
        check_number(f"{file}: {key}", key, value)
    if not tasks:
        raise UserError(f"{file} names no task")
    made = [_task(file, place, task, shared) for place, task in enumerate(tasks)]
    names = [task.name for task in made]
    if len(set(names)) < len(names):
        raise UserError(f"{file}: two tasks have the same name; the names are {', '.join(names)}")
    return Suite(file.stem, made, max_tokens, draws, seed, initialisations)


def check_number(where: str, key: str, value: Any) -> None:
    """Raise UserError for a seed or a count out of its range; other values pass."""
    if key == "seed" and not 0 <= value <= LARGEST_SEED:
        raise UserError(f"{where} is {value}, it must be from 0 to {LARGEST_SEED}")
    counts = [*value] if key == "shots" else [value]
    if (key in COUNTS or key.startswith("max_")) and any(count is not None and count < 1 for count in counts):
        raise UserError(f"{where} is {min(counts)}, it must be at least 1")


def _task(file: Path, place: int, values: dict[str, Any], shared: dict[str, Any]) -> Any:
    options = dict(values)
    kind = options.pop("kind", Classification.kind)
    taken = inspect.signature(KINDS[kind]).parameters
    shared = {key: value for key, value in shared.items() if key in taken}
    options = validate_options(KINDS[kind], {**shared, **options}, f"tasks.{place}", str(file))
    for key, value in options.items():
        check_number(f"{file}: tasks.{place}.{key}", key, value)
    for key in ("path", "test"):
        if options.get(key) is not None:
            options[key] = _seen_from(file.parent, options[key])
    try:
        return KINDS[kind](**options)
    except UserError as error:
        raise UserError(f"{file}: tasks.{place}: {error}") from None


def _seen_from(folder: Path, path: str) -> str:
    return path if ":" in path.split("/")[0] else str(folder / path)  # sample:NAME and hf://... stay
