"""Contamination: evaluation and labelled texts that stand in the training text, counted and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from textssl.assembly.tokenizers import corpus_tokenizer
from textssl.config import load_config
from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.overlap import PASSAGE_TOKENS, overlaps
from textssl.data.labelled.splits import Splits
from textssl.errors import UserError, printable
from textssl.evaluation.suite import Suite
from textssl.evaluation.tasks.classification import Classification
from textssl.evaluation.tasks.clustering import Clustering
from textssl.evaluation.tasks.minimal_pairs import MinimalPairs
from textssl.evaluation.tasks.similarity import Similarity, WordSimilarity
from textssl.evaluation.text_pairs import PairTask
from textssl.inference.language.scorer import Scorer
from textssl.inference.loading import find_model
from textssl.sections import Config
from textssl.system import progress

Corpora = Sequence[tuple[Corpus, Tokenizer]]
GENERATIONS = 20  # of runs, each started from the model of the one before


def run_corpora(folder: Path, given: str | Path | None = None) -> Corpora:
    """The corpora that a model was trained on, each with its tokenizer.

    given: names one; else they are those of RUN/config.yaml, where the model's folder lies in a run folder, and of the
    runs that this one started from. UserError says why there is none to look into.
    """
    if given is not None:
        return [opened(given, folder)]
    found: dict[str, Path] = {}  # path of a corpus -> a folder that should have its tokenizer
    for _ in range(GENERATIONS):
        file = folder.parent / "config.yaml"
        if not file.is_file():
            break
        config = load_config(file)
        found |= {share.path: folder for share in config.data.corpus if share.path not in found}
        if config.model.pretrained is None or config.model.reinitialise:
            break
        folder = find_model(config.model.pretrained)
    if not found:
        raise UserError(f"no configuration beside {folder} names the text that the model was trained on")
    return [opened(path, folder) for path, folder in found.items()]


def opened(path: str | Path, folder: Path) -> tuple[Corpus, Tokenizer]:
    corpus = Corpus.open(path)
    return corpus, corpus_tokenizer(corpus, None, folder)


def with_tokenizer(corpora: Sequence[Corpus], words: PreTrainedTokenizerFast) -> Corpora:
    return [(corpus, words.backend_tokenizer) for corpus in corpora]


def task_texts(task: Any, scorer: Scorer | None) -> list[str]:
    """What a task measures on: test texts, pairs, queries and documents; none for words and other packages' data."""
    if isinstance(task, Classification):
        return task.split.test_texts
    if isinstance(task, WordSimilarity):
        return []
    if isinstance(task, Similarity):
        left, right, _ = task.sides
        return list(dict.fromkeys((*left, *right)))
    if isinstance(task, Clustering):
        return task.examples[0]
    if isinstance(task, PairTask):
        return list(dict.fromkeys((*task.texts.queries, *task.texts.documents)))
    if isinstance(task, MinimalPairs):
        return list(dict.fromkeys(pair.good for pair in task.pairs))
    return task.texts(scorer) if scorer is not None and task.kind == "language" else []


def suite_texts(suite: Suite, scorer: Scorer | None) -> dict[str, Sequence[str]]:
    """The texts of each task that has any, by its name."""
    found = {task.name: task_texts(task, scorer) for task in suite.tasks}
    return {name: texts for name, texts in found.items() if texts}


def look_for(groups: Mapping[str, Sequence[str]], corpora: Corpora) -> dict[str, Any]:
    """The record of a check: the corpora, and how many texts of each group occur there."""
    if not groups:
        return unchecked("there is no text to look for")
    tokens = sum(corpus.tokens for corpus, _ in corpora)
    with progress.working("looking for evaluation texts in the training corpus", tokens, "tokens") as work:
        found = overlaps(dict(groups), corpora, work.advance)
    return {
        "checked": True,
        "corpora": [str(corpus.path) for corpus, _ in corpora],
        "passage_tokens": PASSAGE_TOKENS,
        "tasks": {name: overlap.as_dict() for name, overlap in found.items()},
    }


def unchecked(why: UserError | str) -> dict[str, Any]:
    return {"checked": False, "why": str(why)}


def any_found(found: Mapping[str, Any]) -> bool:
    """Whether a check found any text."""
    return any(one["whole"] + one["passage"] for one in found.get("tasks", {}).values())


def labelled_overlap(config: Config, splits: Splits) -> dict[str, Any]:
    """Labelled texts that stand in the text that a model was pretrained on: of data.corpus, else of its run.

    Raises UserError where data.corpus names no corpus, or is given for a run that starts from no pretrained model.
    """
    given = [share.path for share in config.data.corpus]
    pretrained = config.model.pretrained
    if pretrained is None or config.model.reinitialise:
        if given:
            raise UserError("data.corpus names what model.pretrained was trained on, and the run starts from none")
        return {}  # there is no such text
    try:
        folder = find_model(pretrained)
        corpora = [opened(path, folder) for path in given] or run_corpora(folder)
    except UserError as error:
        if given:
            raise
        return unchecked(error)
    groups = {f"the {name} part": [*part.texts, *(part.text_b or ())] for name, part in splits.parts.items()}
    return look_for(groups, corpora)


def overlap_lines(found: Mapping[str, Any], *, advice: str = "") -> list[str]:
    """One line for each task that has such texts, or one that says that there are none, or why this was not checked.

    advice: what would let it be checked.
    """
    if not found:
        return []
    if not found["checked"]:
        why = printable(found["why"])
        return [f"Not checked whether evaluation texts occur in the training corpus: {why}{advice and '; '}{advice}."]
    lines = []
    for name, one in found["tasks"].items():
        if one["whole"] + one["passage"]:
            lines.append(
                f"{one['whole'] + one['passage']:,} of {one['texts']:,} texts of {name} occur in the training corpus "
                f"({one['whole']:,} whole, {one['passage']:,} with a passage of {found['passage_tokens']} tokens or "
                "more)."
            )
    total = sum(one["texts"] for one in found["tasks"].values())
    none = f"None of {total:,} evaluation texts was found in the training corpus."
    return lines or [none]


def card_lines(found: Mapping[str, Any]) -> list[str]:
    """The same for a model's card, without a path."""
    if found and not found["checked"]:
        return ["Whether texts of the evaluation stand in the text that it was trained on was not checked."]
    return overlap_lines(found)
