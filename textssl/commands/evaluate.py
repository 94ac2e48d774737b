"""`textssl evaluate`: what a model's features are worth on labelled tasks, and how well it predicts text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from textssl.assembly.measured import HELD_OUT, OURS, Side, announce_kept, file_facts, unfinished_file
from textssl.assembly.seen_texts import card_lines, look_for, overlap_lines, run_corpora, suite_texts, unchecked
from textssl.data.text.drops import DropReport
from textssl.data.text.inputs import expand_inputs
from textssl.distributed import launched_rank
from textssl.errors import UserError
from textssl.evaluation.figures.paired import Difference, adjusted, difference_of, task_differences
from textssl.evaluation.measure import run_baselines, versions
from textssl.evaluation.running_text import first_bytes, is_corpus, running_texts
from textssl.evaluation.suite import SUITES, Suite, load_suite
from textssl.evaluation.tasks.bits_per_byte import language_figure
from textssl.evaluation.unfinished import SHARED, Unfinished, fingerprint
from textssl.inference.language.scorer import Scorer, folder_scorer
from textssl.inference.loading import find_model
from textssl.report.captions import legend
from textssl.report.card import CARD
from textssl.report.evaluated import add_evaluation, check_card, check_own
from textssl.report.table import result_tables
from textssl.system.checksums import sha256_of
from textssl.system.files import held_output, write_text
from textssl.system.terminal import Terminal
from textssl.system.threads import choose_threads, use
from textssl.training.tracking import announce, finite

HELD_OUT_BYTES = {"causal": 500_000, "bound": 125_000, "masked": 8_000}  # scored at most; masked: a row for each token


def evaluate(
    model: str | Path,
    suite: str | Path = "quick",
    baselines: bool = False,
    out: str | Path | None = None,
    held_out: str | Path | None = None,
    against: str | Path | None = None,
    card: bool = False,
    corpus: str | Path | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure a model on the tasks of a suite, print a table a task, and return (and write) every figure.

    model: a model folder, a run folder, `sample:minilm`, or a hub name. suite: quick (a minute), full, tuned
    (fine-tuning on the classification sets, an hour), all three of English texts, or FILE.yaml. baselines: also the
    majority class, TF-IDF and the same model untrained. out: FILE.json. held_out: text that the model has not seen (a
    file, a folder, a prepared corpus, `sample:NAME`), for bits per byte. against: another model, measured on the same
    examples; every difference has an interval and a p. card: put the tables into the model's card (README.md) too.
    corpus: the text that the model was trained on, where no run folder says it: evaluation texts that stand there are
    counted. threads: that compute; by default as many as cores. An interrupted evaluation goes on with the tasks
    that are left. Of several processes the first does all of it, and the others return an empty dictionary at once.
    Raises UserError.
    """
    if launched_rank() > 0:
        return {}
    console = Terminal()
    folder = find_model(model)
    other = None if against is None else find_model(against)
    if card:
        check_own(model, folder)
        check_card(folder)
    scorer = folder_scorer(folder)
    given = load_suite(suite)
    plan, skipped = given.suited(scorer)
    with ExitStack() as held:
        if card:
            held.enter_context(held_output(folder / CARD, name="--card"))
        if out is not None:
            read = [*read_files(suite, given, folder, other), *(text_files(held_out) if held_out else ())]
            held.enter_context(held_output(out, read))
        ours = Side(folder, plan, skipped, scorer)
        results = described(model, suite, ours)
        theirs = None if other is None else Side.of(other, given)
        if theirs is not None:
            results["against"] = theirs.described(str(against))
        names = dict.fromkeys([*ours.tasks, *(theirs.tasks if theirs else ())])
        sources = [file for task in given.tasks for file in task_files(task)]
        kept = Unfinished(unfinished_file(described_suite(suite, plan), sources, ours.facts, folder, other))
        announce_kept(kept, names)
        chosen = use(choose_threads(threads, kept.records.get(SHARED)))
        announce(Terminal(stderr=True), f"evaluating with {chosen}")
        kept.note(SHARED, chosen.count)
        results["overlap"] = seen(folder, plan, scorer, corpus, held_out)
        if held_out is not None:  # first: a mistake here should not wait for the probes
            results["held_out"] = str(held_out)
            key = f"{HELD_OUT}{fingerprint(str(held_out), file_facts(text_files(held_out)))}"
            results["language"] = kept.take(key, lambda: held_out_figure(folder, scorer, held_out))
        add_tasks(results, names, ours, theirs, kept)
        if baselines:
            for name, tasks in run_baselines(folder, plan, scratch_tuner=ours.tuners[1], kept=kept):
                results["baselines"][name] = json.loads(json.dumps(_plain(tasks)))
        if kept.trouble is not None:
            announce(Terminal(stderr=True), f"finished tasks could not be kept: {kept.trouble}", style="yellow")
        show_results(results, console)  # before it is written: a full disk does not take what was computed
        if out is not None:
            write_json(results, Path(out))
            console.print(f"Every figure: {out}", soft_wrap=True)
        if card:
            notes = [describe_language(results["language"])] if "language" in results else []
            notes += card_lines(results["overlap"])
            written = add_evaluation(folder, results, notes)
            console.print(f"The tables are in the model's card: {written}", soft_wrap=True)
        kept.clear()
        return results


def described(model: str | Path, suite: str | Path, ours: Side) -> dict[str, Any]:
    """The results before anything is measured."""
    plan, own = ours.plan, ours.described(str(model))
    return {
        "model": own["model"],
        "weights_hash": own["weights_hash"],
        **described_suite(suite, plan),
        "versions": versions(),
        "data": own["data"],
        "skipped": own["skipped"],
        "tasks": own["tasks"],
        "baselines": {},
    }


def described_suite(suite: str | Path, plan: Suite) -> dict[str, Any]:
    return {
        "suite": str(suite),
        "suite_hash": file_hash(suite),
        "max_tokens": plan.max_tokens,
        "draws": plan.draws,
        "seeds": {"draws": plan.seed, "initialisations": [plan.seed + place for place in range(plan.initialisations)]},
    }


def seen(
    folder: Path, plan: Suite, scorer: Scorer | None, corpus: str | Path | None, held_out: str | Path | None
) -> dict[str, Any]:
    """Which texts of the tasks stand in the training text of the model. Raises UserError for an invalid `corpus`."""
    try:
        corpora = run_corpora(folder, corpus)
    except UserError as error:
        if corpus is not None:
            raise
        return unchecked(error)
    groups = suite_texts(plan, scorer)
    if held_out is not None and scorer is not None:
        groups["the held-out text"] = held_out_texts(scorer, held_out)
    return look_for(groups, corpora)


def read_files(suite: str | Path, plan: Suite, *folders: str | Path | None) -> Iterator[str | Path]:
    """What an evaluation reads and its result must not replace: the suite, its sets, models except earlier results."""
    yield suite
    for task in plan.tasks:
        yield from task_files(task)
    for folder in folders:
        files = Path(folder).rglob("*") if folder is not None and Path(folder).is_dir() else ()
        yield from (file for file in files if file.is_file() and not is_result(file))


def task_files(task: Any) -> Iterator[str | Path]:
    """The files of a task's sets."""
    for source in (getattr(task, "path", None), getattr(task, "test", None)):
        yield from () if source is None else text_files(source)


def text_files(source: str | Path) -> Sequence[str | Path]:
    try:
        return [source] if is_corpus(source) else expand_inputs([source])
    except UserError:  # which the task reports, or a folder of another kind
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


def add_tasks(results: dict[str, Any], names: Iterable[str], ours: Side, theirs: Side | None, kept: Unfinished) -> None:
    """Put every figure of both models and their differences into the results; finished tasks are kept."""
    found: dict[str, dict[str, Difference]] = {}
    for name in names:
        record = kept.take(f"{OURS}{name}", lambda: measure_task(name, ours, theirs))  # noqa: B023
        ours.add(results, name, record["ours"])
        if theirs is not None:
            theirs.add(results["against"], name, record["theirs"])
            found[name] = {key: difference_of(one) for key, one in record["differences"].items()}
    if theirs is not None:
        results["differences"] = _plain(adjusted({task: figures for task, figures in found.items() if figures}))


def measure_task(name: str, ours: Side, theirs: Side | None) -> dict[str, Any]:
    """The record of one task."""
    figures, record = ours.measure(name)
    if theirs is None:
        return {"ours": record}
    others, their_record = theirs.measure(name)
    differences = task_differences(figures, others, ours.plan.seed)
    return {"ours": record, "theirs": their_record, "differences": {k: one.as_dict() for k, one in differences.items()}}


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
    if "overlap" in results:
        for line in overlap_lines(results["overlap"], advice="give the prepared corpus as --corpus DIR"):
            console.print(line)


def describe_language(figure: dict[str, Any]) -> str:
    """One line about a LanguageFigure."""
    pseudo = "pseudo " if figure["kind"] == "pseudo" else ""
    hidden = {"bound": " at most (an upper bound)", "pseudo": " (each token hidden in turn)"}.get(figure["kind"], "")
    if figure["bits_per_byte"] is None:
        value = f"{figure['nats_per_token']:.3f} nats a token{hidden}; no bits per byte, since the tokenizer loses text"
    else:
        value = f"{figure['bits_per_byte']:.3f} {pseudo}bits per byte{hidden}"
    dropped = "; ".join(f"{reason}: {count:,}" for reason, count in figure.get("dropped", {}).items())
    return (
        f"Held-out text: {value}, over {figure['texts']:,} texts, "
        f"{figure['tokens']:,} tokens, {figure['bytes']:,} bytes, at most {figure['context']} tokens of context"
        f"{f' (dropped: {dropped})' if dropped else ''}"
    )


def write_json(results: Any, out: Path) -> None:
    write_text(out, json.dumps(finite(results), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def held_out_figure(folder: Path, scorer: Scorer | None, held_out: str | Path) -> dict[str, Any]:
    """The LanguageFigure of the first part of the held-out text, and what was `dropped` of it, by reason: exact bits
    per byte for a causal model, an upper bound for a diffusion model, pseudo bits for other masked models. Raises
    UserError for a model without such a head, and where there is no text."""
    if scorer is None:
        raise UserError(f"{folder} has no language model head to score held-out text with: leave --held-out out")
    report = DropReport()
    texts = held_out_texts(scorer, held_out, report)
    if not texts:
        dropped = f" (dropped: {report.summary()})" if report.total else ""
        raise UserError(f"held_out {held_out} holds no text to score{dropped}")
    figure = language_figure(scorer.code_length(texts, progress="held-out text"), texts, scorer.tokenizer)
    return {**figure.as_dict(), "dropped": report.as_dict()}


def held_out_texts(scorer: Scorer, held_out: str | Path, report: DropReport | None = None) -> list[str]:
    return first_bytes(running_texts(held_out, scorer.tokenizer, report), HELD_OUT_BYTES[scorer.measure])
