"""`textssl finetune`: a pretrained model learns labels and is tested once, beside baselines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from textssl import distributed
from textssl.assembly.computing import computed_as
from textssl.assembly.finetune_baselines import BaselinePredictions, make_baselines
from textssl.assembly.resolution import located, seen_here
from textssl.assembly.runs import find_seeds, held_run, start_accelerator
from textssl.assembly.seen_texts import any_found, card_lines, labelled_overlap, overlap_lines
from textssl.assembly.tuning import Tuned, tune
from textssl.config import load_config
from textssl.data.labelled.labelled_set import Labeled, Target
from textssl.data.labelled.splits import Splits, read_splits
from textssl.distributed import Accelerator
from textssl.errors import listed
from textssl.evaluation.figures.figure import Figure
from textssl.evaluation.figures.intervals import over_draws
from textssl.evaluation.figures.supervised import answer_figures, confusion
from textssl.failing_ranks import starting_together
from textssl.inference.predictor import answer_fields
from textssl.report.card import write_card
from textssl.report.facts import Labelled, run_facts
from textssl.report.finetuned import result_tables
from textssl.report.markdown import escape
from textssl.sections import Config
from textssl.system.files import write_text, written_file, written_folder
from textssl.system.terminal import Terminal
from textssl.training.evaluations import better
from textssl.training.summary import write_summary
from textssl.training.tracking import announce

READ_TEXTS = 200  # from which the card guesses the language
DEFAULTS: dict[str, dict[str, Any]] = {  # where fine-tuning needs other values than pretraining
    "objective": {"name": "auto"},
    "optimizer": {"name": "adamw", "lr": 1e-4, "betas": [0.9, 0.999]},
    "schedule": {"name": "linear", "warmup_fraction": 0.1},
    "train": {"max_epochs": 5, "batch_size": 32, "log_every": 20, "checkpoint_every": None},
    "evaluation": {"every": None},
}
BOUNDS = {  # of figures; losses and errors are above 0
    **dict.fromkeys(("accuracy", "macro_f1", "calibration_error"), (0.0, 1.0)),
    **dict.fromkeys(("mcc", "pearson", "spearman"), (-1.0, 1.0)),
}
OF_DATA = ("majority", "tfidf")  # baselines that follow from the data, the same for every seed
TARGETS: dict[str, Target] = {"classification": "label", "regression": "score", "pairs": "label"}


@dataclass
class Finetuned:
    """What a fine-tuning run gave, as in RUN/summary.json.

    summary: of the run (of the exported one, where there are several seeds). test: figure -> mean and interval on the
    test texts. baselines: the same for each baseline. splits: texts of each part. baseline_texts: how many those learn
    from that select no checkpoint, such as TF-IDF. dropped: counts by reason.
    terms: what each baseline that counts terms has counted. temperature: of the head on a sentence encoder. confusion:
    (true, predicted) counts. seeds: seed, folder, best validation figure and test figures of each run.
    """

    run: str
    stopped_by: str | None
    summary: dict[str, Any]
    labels: list[str] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    baseline_texts: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    test: dict[str, dict[str, Any]] = field(default_factory=dict)
    baselines: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    terms: dict[str, str] = field(default_factory=dict)
    temperature: float | None = None
    confusion: list[list[int]] | None = None
    seeds: list[dict[str, Any]] = field(default_factory=list)
    overlap: dict[str, Any] = field(default_factory=dict)  # labelled texts that stand in the pretraining corpus

    def as_dict(self) -> dict[str, Any]:
        own = {key: value for key, value in asdict(self).items() if key != "summary"}
        return {**self.summary, **own}

    def write(self) -> None:
        write_summary(self.run, self.as_dict())


def finetune(config: str | Path | Config, overrides: Sequence[str] = (), console: Console | None = None) -> Finetuned:
    """Train a classifier (or a model of scores) on labelled texts; a run folder that holds checkpoints is continued.

    config: a YAML file, a name of `textssl configs list`, or a Config. overrides: `key.sub=value` strings, not for a
    Config. Leaves RUN/model, a stock AutoModelForSequenceClassification folder (objective.name=pairs: a
    sentence-transformers folder with a linear head beside it), RUN/predictions.jsonl of the test texts, and
    RUN/summary.json. Raises UserError before anything is written.
    """
    console = console or Terminal(stderr=True)
    with starting_together():
        config = config if isinstance(config, Config) else load_config(config, overrides, DEFAULTS)
        accelerator = start_accelerator(config)
    with held_run(config):
        if config.train.num_seeds == 1:
            return finetune_once(config, accelerator, console)
        return finetune_seeds(config, accelerator, console)


def finetune_once(
    config: Config,
    accelerator: Accelerator,
    console: Console,
    quiet: bool = False,
    before: Finetuned | None = None,
) -> Finetuned:
    """One seed. quiet: no table at the end. before: an earlier seed, which has what is the same for all of them."""
    splits = read_splits(config.data, config.seed, TARGETS.get(str(config.objective.get("name")), "auto"))
    first = distributed.rank() == 0
    if splits.report.total and first:
        announce(console, f"{splits.report.total:,} records dropped: {splits.report.summary()}", style="yellow")
    if first and before is None and (untested := untested_line(splits)):
        announce(console, untested, style="yellow")
    overlap = look_and_tell(config, splits, console) if before is None else before.overlap
    tuned = tune(config, splits, accelerator, console)
    config = tuned.config
    result = Finetuned(tuned.summary.run, tuned.summary.stopped_by, asdict(tuned.summary))
    result.labels, result.dropped = list(splits.facts.classes), splits.report.as_dict()
    result.splits, result.overlap = {name: len(part) for name, part in splits.parts.items()}, overlap
    result.baseline_texts = len(splits.learnable)
    if result.stopped_by is None:
        known = before.baselines if before is not None and config.data.shots is None else {}
        known = {name: known[name] for name in OF_DATA if name in known}
        others = make_baselines(config, splits, accelerator, console, known)  # some of them are runs of all ranks
        tuned.summary.stopped_by = result.stopped_by = others.stopped_by
        result.temperature = tuned.temperature
        if first and others.stopped_by is None:
            result.baselines, result.terms = known, {} if before is None else dict(before.terms)
            measure(result, config, splits, tuned, others)
    if first:
        result.write()
        announce(console, tuned.summary.line())
        if not quiet and result.test:
            show(result)
    distributed.barrier()
    return result


def untested_line(splits: Splits) -> str | None:
    """What the figures of the test say nothing of."""
    names = splits.untested
    labels, them = f"label{'s' * (len(names) > 1)} {listed(names)}", "them" if len(names) > 1 else "it"
    return f"No test text has the {labels}: the figures say nothing about {them}." if names else None


def look_and_tell(config: Config, splits: Splits, console: Console) -> dict[str, Any]:
    """Labelled texts that stand in the pretraining corpus, announced on the first rank and returned on every one."""
    found = distributed.from_first_rank(lambda: labelled_overlap(config, splits))
    if distributed.rank() == 0:
        advice = "give the prepared corpus as data.corpus" if config.model.pretrained else ""
        for line in overlap_lines(found, advice=advice):
            announce(console, line, style="yellow" if any_found(found) else None)
    return found


def measure(result: Finetuned, config: Config, splits: Splits, tuned: Tuned, others: BaselinePredictions) -> None:
    """Put the figures of the test part into the result, write its predictions and the card; for the first rank."""
    if splits.test is not None and tuned.answers is not None and tuned.truth is not None:
        truth = tuned.truth
        result.test = plain(answer_figures(truth, tuned.answers, config.seed))
        found = {name: answer_figures(truth, answers, config.seed) for name, answers in others.answers.items()}
        result.baselines = {**result.baselines, **{name: plain(figures) for name, figures in found.items()}}
        result.terms = result.terms | others.terms
        if result.labels:
            result.confusion = confusion(truth, tuned.answers).tolist()
        write_predictions(Path(result.run) / "predictions.jsonl", splits.test, result.labels, tuned.answers)
    labelled = Labelled(
        source=str(config.data.train),
        others={name: str(getattr(config.data, name)) for name in splits.given},
        splits=result.splits,
        classes=dict(zip(splits.facts.classes, splits.facts.counts, strict=True)),
        test={"this model": result.test, **result.baselines} if result.test else {},
        terms=result.terms,
        temperature=result.temperature,
        confusion=result.confusion,
        pairs=splits.train.text_b is not None,
    )
    figures = tuned.summary.best or {}
    facts = run_facts(
        config,
        tuned.objective,
        asdict(tuned.summary),
        command="finetune",
        labelled=labelled,
        read=splits.train.texts[:READ_TEXTS],
        figures={figures["figure"]: figures["value"]} if figures else {},
        limits=[*([escape(untested)] if (untested := untested_line(splits)) else []), *card_lines(result.overlap)],
    )
    write_card(Path(result.run) / "model", facts)


def plain(figures: dict[str, Figure]) -> dict[str, dict[str, Any]]:
    return {name: figure.as_dict() for name, figure in figures.items()}


def write_predictions(file: Path, test: Labeled, labels: list[str], answers: Any) -> None:
    """Write one object a test text: the text, the prediction with the probabilities of all labels, and the truth."""
    with written_file(file) as aside, aside.open("w", encoding="utf-8") as stream:
        for place, answer in enumerate(answers):
            line: dict[str, Any] = {"text": test.texts[place]}
            if test.text_b is not None:
                line = {"text_a": test.texts[place], "text_b": test.text_b[place]}
            line |= answer_fields(answer, labels)
            line["true"] = test.labels[place] if labels else (test.scores or [])[place]
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def show(result: Finetuned) -> None:
    console = Terminal()
    for table in result_tables(result.as_dict()):
        console.print(table)


def finetune_seeds(config: Config, accelerator: Accelerator, console: Console) -> Finetuned:
    """Several seeds, each in a folder of its own; the best by validation (without one: the first) becomes RUN/model."""
    run = seen_here(config, find_seeds)
    config = located(config, run)
    results: list[Finetuned] = []
    for seed in range(config.seed, config.seed + config.train.num_seeds):
        one = config.unfrozen()
        one.seed, one.train.num_seeds, one.out = seed, 1, str(run / f"seed-{seed}")
        before = results[0] if results else None
        results.append(finetune_once(one, accelerator, console, quiet=True, before=before))
        if distributed.rank() == 0 and len(results) == 1:  # a configuration that a seed refuses is not written
            first = load_config(Path(results[0].run) / "config.yaml")
            write_text(run / "config.yaml", computed_as(config, first).to_yaml())
        if results[-1].stopped_by:
            stopped = replace(results[-1], run=str(run))
            if distributed.rank() == 0:
                stopped.write()
            distributed.barrier()
            return stopped
    chosen = results[0]
    for result in results[1:]:
        now, before = result.summary["best"], chosen.summary["best"]
        if now and before and better(now["figure"], now["value"], before["value"]):
            chosen = result
    total = Finetuned(**{**vars(chosen), "run": str(run), "test": over_seeds([result.test for result in results])})
    names = {name for result in results for name in result.baselines}
    found = {name: [result.baselines[name] for result in results if name in result.baselines] for name in names}
    alike = OF_DATA if config.data.shots is None else ()
    total.baselines = {
        name: over_seeds(found[name]) if len(found[name]) > 1 and name not in alike else found[name][0]
        for name in config.evaluation.baselines
        if name in found
    }
    total.terms = {
        name: " or ".join(sorted({result.terms[name] for result in results if name in result.terms}))
        for name in results[0].terms
    }
    total.seeds = [
        {"seed": config.seed + at, "run": result.run, "best": result.summary["best"], "test": result.test}
        for at, result in enumerate(results)
    ]
    if distributed.rank() == 0:
        with written_folder(run / "model") as aside:
            shutil.copytree(Path(chosen.run) / "model", aside, dirs_exist_ok=True)
        if (Path(chosen.run) / "predictions.jsonl").is_file():
            with written_file(run / "predictions.jsonl") as aside:
                shutil.copy2(Path(chosen.run) / "predictions.jsonl", aside)
        total.write()
        announce(console, f"done: {len(results)} seeds; {run / 'model'} is that of {Path(chosen.run).name}")
        if total.test:
            show(total)
    distributed.barrier()
    return total


def over_seeds(runs: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Each figure's mean over the seeds with Student's 95 % interval."""
    merged = {}
    for name in runs[0]:
        values = [run[name]["mean"] for run in runs]
        score = over_draws(values, BOUNDS.get(name, (0.0, float("inf"))))
        merged[name] = {**runs[0][name], **asdict(score), "interval": "seeds", "scores": values}
    return merged
