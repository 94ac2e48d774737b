"""`textssl evaluate`: what a model's features are worth on labelled tasks, and how well it predicts text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from textssl.data.inputs import expand_inputs
from textssl.data.wheels import sha256_of
from textssl.distributed import launched_rank
from textssl.errors import UserError
from textssl.evaluation.classification import Tuner
from textssl.evaluation.encoders import load_encoder
from textssl.evaluation.language import LanguageFigure, language_figure
from textssl.evaluation.loading import find_model, weights_hash
from textssl.evaluation.measure import Figures, run_baselines, run_suite, versions
from textssl.evaluation.paired import compare
from textssl.evaluation.remembered import Remembered
from textssl.evaluation.running_text import first_bytes, is_corpus, running_texts
from textssl.evaluation.scorer import Scorer, folder_scorer
from textssl.evaluation.suite import SUITES, Suite, load_suite
from textssl.evaluation.table import LANGUAGE, legend, result_tables
from textssl.files import check_output, write_text
from textssl.report.card import CARD
from textssl.report.evaluated import add_evaluation, check_card, check_own
from textssl.terminal import Terminal
from textssl.training.tracking import finite
from textssl.workflows.tuner import suite_tuners

HELD_OUT_BYTES = {"causal": 500_000, "masked": 8_000}  # scored at most; a masked model needs a row for each token


def evaluate(
    model: str | Path,
    suite: str | Path = "quick",
    baselines: bool = False,
    out: str | Path | None = None,
    held_out: str | Path | None = None,
    against: str | Path | None = None,
    card: bool = False,
) -> dict[str, Any]:
    """Measure a model on the tasks of a suite, print a table a task, and return (and write) every figure.

    model: a model folder, a run folder, `sample:minilm`, or a hub name. suite: quick (a minute), full, tuned
    (fine-tuning on the classification sets, an hour) or FILE.yaml. baselines: also the majority class, TF-IDF and the
    same model untrained. out: FILE.json. held_out: text that the model has not seen (a file, a folder, a prepared
    corpus, `sample:NAME`), for bits per byte. against: another model, measured on the same examples; every difference
    has an interval and a p. card: put the tables into the model's card (README.md) too. Of several processes the first
    does all of it, and the others return an empty dictionary at once. Raises UserError.
    """
    if launched_rank() > 0:
        return {}
    console = Terminal()
    folder = find_model(model)
    other = None if against is None else find_model(against)
    if card:
        check_own(model, folder)
        check_card(folder)
        check_output(folder / CARD, name="--card")
    scorer = folder_scorer(folder)
    given = load_suite(suite)
    plan, skipped = given.suited(scorer)
    if out is not None:
        check_output(out, [*read_files(suite, given, folder, other), *(text_files(held_out) if held_out else ())])
    results: dict[str, Any] = {
        "model": str(model),
        "weights_hash": weights_hash(folder),
        "suite": str(suite),
        "suite_hash": file_hash(suite),
        "max_tokens": plan.max_tokens,
        "draws": plan.draws,
        "seeds": {"draws": plan.seed, "initialisations": [plan.seed + place for place in range(plan.initialisations)]},
        "versions": versions(),
        "data": plan.facts(),
        "skipped": skipped,
        "tasks": {},
        "baselines": {},
    }
    if held_out is not None:  # first: a mistake here should not wait for the probes
        results["held_out"] = str(held_out)
        results["language"] = held_out_figure(folder, scorer, held_out).as_dict()
    tuner, scratch_tuner = suite_tuners(folder, plan, skipped)
    figures = run_tasks(folder, plan, results, scorer, tuner)
    if other is not None:
        results["against"], theirs = measure_other(other, str(against), given)
        results["differences"] = _plain(compare(figures, theirs, plan.seed))
    if baselines:
        for name, tasks in run_baselines(folder, plan, scratch_tuner=scratch_tuner):
            results["baselines"][name] = _plain(tasks)
    show_results(results, console)  # before it is written: a full disk does not take what was computed
    if out is not None:
        write_json(results, Path(out))
        console.print(f"Every figure: {out}", soft_wrap=True)
    if card:
        notes = [describe_language(results["language"])] if "language" in results else []
        written = add_evaluation(folder, results, notes)
        console.print(f"The tables are in the model's card: {written}", soft_wrap=True)
    return results


def read_files(suite: str | Path, plan: Suite, *folders: str | Path | None) -> Iterator[str | Path]:
    """What an evaluation reads and its result must not replace: the suite, its sets, and models but their results."""
    yield suite
    for task in plan.tasks:
        for source in (getattr(task, "path", None), getattr(task, "test", None)):
            yield from () if source is None else text_files(source)
    for folder in folders:
        files = Path(folder).rglob("*") if folder is not None and Path(folder).is_dir() else ()
        yield from (file for file in files if file.is_file() and not is_result(file))


def text_files(source: str | Path) -> Sequence[str | Path]:
    try:
        return [source] if is_corpus(source) else expand_inputs([source])
    except UserError:  # said by the task, or a folder of another kind
        return [source]


def is_result(file: Path) -> bool:
    """Whether a file is what an earlier evaluation wrote."""
    try:
        return file.suffix == ".json" and "weights_hash" in json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def file_hash(suite: str | Path) -> str | None:
    """The first 16 hexadecimal digits of the sha256 of a suite's file; None for the suites that have names."""
    return None if str(suite) in SUITES else sha256_of(Path(suite))[:16]


def run_tasks(
    folder: Path, suite: Suite, results: dict[str, Any], scorer: Scorer | None = None, tuner: Tuner | None = None
) -> dict[str, Figures]:
    """Every figure; fills in results["tasks"], and in results["data"] how much of each text the model has read.

    scorer, tuner: as in run_suite.
    """
    encoder = Remembered(load_encoder(folder, max_tokens=suite.max_tokens))
    found: dict[str, Figures] = {}
    for task, figures in run_suite(encoder, suite, "reading", tuner, scorer):
        found[task] = figures
        if results["data"][task]["kind"] in LANGUAGE:
            results["data"][task] |= next(iter(figures.values())).settings
            continue
        reading = encoder.take_reading()
        results["data"][task] |= {
            "truncated_share": reading.truncated_share,
            "max_tokens": encoder.max_tokens,
            "tokens": reading.tokens,
        }
    results["tasks"] = _plain(found)
    return found


def measure_other(folder: Path, name: str, suite: Suite) -> tuple[dict[str, Any], dict[str, Figures]]:
    """What is written of the model that another is compared with, and its figures of the tasks that both can do."""
    scorer = folder_scorer(folder)
    plan, skipped = suite.suited(scorer)
    results: dict[str, Any] = {"model": name, "weights_hash": weights_hash(folder), "skipped": skipped}
    results["data"] = plan.facts()
    tuner, _ = suite_tuners(folder, plan, skipped)
    figures = run_tasks(folder, plan, results, scorer, tuner)
    return results, figures


def _plain(tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {task: {name: figure.as_dict() for name, figure in figures.items()} for task, figures in tasks.items()}


def show_results(results: dict[str, Any], console: Console) -> None:
    """Print the tables of results that `evaluate` returned or wrote."""
    for table in result_tables(results):
        console.print(table)
        console.print()
    console.print(legend(results), style="dim")
    for who, of in (("", results), (" of the other model", results.get("against", {}))):
        skipped = of.get("skipped", {})
        for reason in dict.fromkeys(skipped.values()):
            tasks = ", ".join(task for task, why in skipped.items() if why == reason)
            console.print(f"Left out{who}: {tasks} ({reason}).")
    if "language" in results:
        console.print(describe_language(results["language"]))


def describe_language(figure: dict[str, Any]) -> str:
    """One line about a LanguageFigure."""
    pseudo = "" if figure["kind"] == "causal" else "pseudo "
    hidden = " (each token hidden in turn)" if pseudo else ""
    if figure["bits_per_byte"] is None:
        value = f"{figure['nats_per_token']:.3f} nats a token{hidden}; no bits per byte, since the tokenizer loses text"
    else:
        value = f"{figure['bits_per_byte']:.3f} {pseudo}bits per byte{hidden}"
    return (
        f"Held-out text: {value}, over {figure['texts']:,} texts, "
        f"{figure['tokens']:,} tokens, {figure['bytes']:,} bytes, at most {figure['context']} tokens of context"
    )


def write_json(results: Any, out: Path) -> None:
    write_text(out, json.dumps(finite(results), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def held_out_figure(folder: Path, scorer: Scorer | None, held_out: str | Path) -> LanguageFigure:
    """Bits per byte of a causal model, pseudo bits per byte of a masked one, on the first part of the held-out text."""
    if scorer is None:
        raise UserError(f"{folder} has no language model head to score held-out text with: leave held_out out")
    texts = first_bytes(running_texts(held_out, scorer.tokenizer), HELD_OUT_BYTES[scorer.kind])
    return language_figure(scorer.likelihood(texts, progress="held-out text"), texts, scorer.tokenizer)
