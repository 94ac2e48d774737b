"""What a run knows about the model that it made: the facts of a card, from the objects of the run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from textssl.data.corpus.corpus import Corpus
from textssl.data.language.languages import AUTO
from textssl.data.samples.cache import PREFIX, list_samples
from textssl.inference.loading import HUB_NAME
from textssl.report.examples import EXAMPLES, Examples, choose_examples, languages_of, read_openings
from textssl.report.paths import shown, shown_values
from textssl.sections import Config

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True, kw_only=True)
class TrainingText:
    """One prepared corpus. inputs: what `prepare` was given, and with which options. share: of the samples."""

    name: str
    inputs: list[str]
    options: dict[str, Any]
    documents: int
    tokens: int
    bytes: int
    share: float
    held_out_documents: int


@dataclass(frozen=True, kw_only=True)
class Method:
    """An objective in words. sources: numbers on arXiv. options: as in the configuration, without the name."""

    name: str
    words: str
    sources: list[str]
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """The labelled set of a fine-tuned model.

    source: as the user wrote it. splits: examples of each. others: part -> its file, where that is another one.
    classes: label -> training examples, none for a score. test: answer ("this model", "tfidf", ...) -> figure name -> a
    number, or a mapping with mean, low and high. terms: answer -> what it counted, such as "words". temperature: by
    which the logits of a linear head were divided. confusion: (true, predicted) counts on the test split, in the order
    of `classes`. pairs: two texts an example.
    """

    source: str
    splits: Mapping[str, int]
    others: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, int] = field(default_factory=dict)
    test: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    terms: Mapping[str, str] = field(default_factory=dict)
    temperature: float | None = None
    confusion: Sequence[Sequence[int]] | None = None
    pairs: bool = False


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a card says about a run.

    command: of textssl, to repeat it. config: resolved, with paths shortened. summary: as in summary.json. figures: of
    the exported weights, name -> value. pairs: (file, how many) of given pairs. started_from: the folder or name
    that training started from, None for random weights. base_model: the same, where it is a name on the hub. licences:
    sample -> what its package says. limits: sentences to add to those that follow from the facts. languages: of the
    texts, the commonest first; language_given: by `prepare --language`, not by a guess. examples: for the card's code.
    """

    command: str
    config: dict[str, Any]
    summary: Mapping[str, Any]
    methods: list[Method]
    texts: list[TrainingText] = field(default_factory=list)
    pairs: tuple[str, int] | None = None
    labelled: Labelled | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    base_model: str | None = None
    started_from: str | None = None
    licences: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[str] = ()
    languages: Sequence[str] = ()
    language_given: bool = False
    examples: Examples = EXAMPLES["en"]


def run_facts(
    config: Config,
    objective: Any,
    summary: Mapping[str, Any],
    *,
    command: str = "pretrain",
    corpora: Iterable[tuple[Corpus, float]] = (),
    pairs: int = 0,
    figures: Mapping[str, float] | None = None,
    labelled: Labelled | None = None,
    limits: Sequence[str] = (),
    tokenizer: Any = None,
    read: Sequence[str] = (),
) -> Facts:
    """The facts of a run.

    objective: what was trained; its docstrings say what it does. corpora: with their weights. pairs: how many were
    given in data.pairs. figures: of the exported weights, those of training are left out. tokenizer: reads the corpora,
    for their language and for examples. read: texts to guess the language from where there is no corpus.
    """
    corpora = list(corpora)
    texts = training_texts(corpora)
    openings = read_openings([corpus for corpus, _ in corpora], tokenizer)
    languages = languages_of([corpus for corpus, _ in corpora], openings or read)
    values = shown_values(config.model_dump(mode="json"))
    pretrained = config.model.pretrained
    on_hub = pretrained is not None and HUB_NAME.fullmatch(pretrained) is not None and not Path(pretrained).exists()
    used = [name for text in texts for name in text.inputs] + (
        [labelled.source, *labelled.others.values()] if labelled else []
    )
    return Facts(
        command=command,
        config=values,
        summary=summary,
        methods=methods(objective, config.objective),
        texts=texts,
        pairs=(shown(config.data.pairs), pairs) if config.data.pairs else None,
        labelled=labelled,
        figures={name: value for name, value in (figures or {}).items() if name.startswith("eval/")},
        base_model=pretrained if on_hub else None,
        started_from=values["model"]["pretrained"],
        licences=licences([*used, values["model"]["pretrained"] or ""]),
        limits=limits,
        languages=languages,
        language_given=bool(corpora) and all(corpus.manifest.get("language", AUTO) != AUTO for corpus, _ in corpora),
        examples=choose_examples(languages, openings),
    )


def training_texts(corpora: Iterable[tuple[Corpus, float]]) -> list[TrainingText]:
    """What corpus.json says about each corpus."""
    corpora = list(corpora)
    total = sum(weight for _, weight in corpora)
    found = []
    for corpus, weight in corpora:
        origin = corpus.manifest.get("provenance", {})
        held_out = corpus.held_out / "corpus.json"
        found.append(
            TrainingText(
                name=shown(corpus.path),
                inputs=[shown(path) for path in origin.get("inputs", [])],
                options=origin.get("options", {}),
                documents=corpus.documents,
                tokens=corpus.tokens,
                bytes=corpus.bytes,
                share=weight / total,
                held_out_documents=Corpus.open(corpus.held_out).documents if held_out.is_file() else 0,
            )
        )
    return found


def methods(objective: Any, section: Mapping[str, Any]) -> list[Method]:
    """The objective and, of a mixture, its parts, each described by the first paragraph of its docstring."""
    options = {key: value for key, value in section.items() if key not in ("name", "parts")}
    found = [describe(section.get("name", type(objective).__name__), objective, options)]
    parts = getattr(objective, "parts", {})
    for part, given in zip(parts.values(), section.get("parts", ()), strict=False):
        found += methods(part.objective, given)
    return found


def describe(name: str, objective: Any, options: dict[str, Any]) -> Method:
    text = (inspect.getdoc(type(objective)) or "").split("\n\n")[0]
    first = " ".join(text.split()) or type(objective).__name__
    return Method(name=name, words=first, sources=ARXIV.findall(first), options=options)


def licences(names: Iterable[str]) -> dict[str, str]:
    """{sample: what it is, its package and licence} for the samples among the names."""
    known = {str(sample["name"]): sample for sample in list_samples()}
    used = dict.fromkeys(name.removeprefix(PREFIX).split("/")[0] for name in names if name.startswith(PREFIX))
    return {
        PREFIX + name: f"{known[name]['what']}, from the package {known[name]['package']} {known[name]['version']} "
        f"(its licence: {known[name]['licence']})"
        for name in used
        if name in known
    }
