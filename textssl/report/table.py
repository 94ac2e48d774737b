"""The results of a suite as tables for the terminal, from the same dictionary that becomes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from textssl.evaluation.figures.figure import less_is_better
from textssl.report.captions import LANGUAGE, LEVEL, caption, heading, is_tuned, metric_words
from textssl.report.rows import ROWS, answers, counted

GROUPS = {  # kind -> heading; "": the task is the heading, and the rows below are its figures
    "similarity": "Spearman",
    "word_similarity": "Spearman",
    "clustering": "V-measure",
    "retrieval": "",
    "geometry": "",
    "language": "",
    "minimal_pairs": "",
    "lm_eval": "",
}
IMBALANCED = 0.6  # share of the most frequent class above which accuracy alone misleads


def result_tables(results: Mapping[str, Any]) -> list[Group]:
    """A table for each classification task, one for similarity and retrieval, one for clustering, one for geometry, one
    for language modelling, and one of the differences to another model.

    results: what `evaluate` returns and writes. The best mean among the answers to one question is bold.
    """
    kinds = {task: results["data"][task].get("kind", "classification") for task in results["tasks"]}
    apart = ("classification", "clustering", "geometry", *LANGUAGE)
    tables = [table for task, kind in kinds.items() if kind == "classification" for table in _accuracies(task, results)]
    compared = [task for task, kind in kinds.items() if kind not in apart]
    if compared:
        compared.sort(key=lambda task: list(GROUPS).index(kinds[task]))
        tables.append(_metrics("Texts compared by cosine", compared, results, ranked=True))
    clustered = [task for task, kind in kinds.items() if kind == "clustering"]
    if clustered:
        tables.append(_clusterings(clustered, results))
    geometry = [task for task, kind in kinds.items() if kind == "geometry"]
    if geometry:
        tables.append(_metrics("Geometry of the features", geometry, results, ranked=False))
    language = [task for task, kind in kinds.items() if kind in LANGUAGE]
    if language:
        tables.append(_metrics("Language modelling", language, results, ranked=True))
    if results.get("differences"):
        tables.append(_differences(results))
    return tables


def _table(title: str) -> Table:
    table = Table(title=Text(title, style="bold"), box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("", no_wrap=True)
    return table


def _with_captions(table: Table, captions: list[str]) -> Group:
    """The table with its captions below it, and not in it, where a narrow table would fold them."""
    return Group(table, *(Text(words, style="table.caption") for words in captions))


def _accuracies(task: str, results: Mapping[str, Any]) -> list[Group]:
    """Accuracies of probes and neighbours, and of fine-tuning if any: a row for the model and each baseline."""
    facts = results["data"][task]
    columns = {heading(name, facts): (task, name) for name in results["tasks"][task]}
    tuned = {words: place for words, place in columns.items() if is_tuned(place[1])}
    frozen = {words: place for words, place in columns.items() if words not in tuned}
    with_f1 = facts.get("majority_share", 0.0) > IMBALANCED
    tables = [_with_captions(_by_row(f"{task}: accuracy", frozen, results, with_f1=with_f1), [caption(facts)])]
    if tuned:
        title = f"{task}: accuracy of the whole model, trained"
        named = {"tfidf": "TF-IDF, probe", "random_init": "from scratch"}
        tables.append(_with_captions(_by_row(title, tuned, results, with_f1=with_f1, named=named), []))
    return tables


def _clusterings(tasks: list[str], results: Mapping[str, Any]) -> Group:
    """A row for the model and each baseline, a column for each task."""
    columns = {task.removesuffix("-clustering"): (task, "v_measure") for task in tasks}
    named = {"tfidf": "LSA, k-means"}
    table = _by_row("Clusters against classes: V-measure", columns, results, named=named)
    captions = [f"{task}: {caption(results['data'][task])}" for task in tasks]
    return _with_captions(table, [*captions, *counted(results, tasks, named=True)])


def _by_row(
    title: str,
    columns: Mapping[str, tuple[str, str]],
    results: Mapping[str, Any],
    *,
    with_f1: bool = False,
    named: Mapping[str, str] | None = None,
) -> Table:
    """A row for the model and each baseline. columns: heading -> (task, figure). named: other words for baselines."""
    table = _table(title)
    for words in columns:
        table.add_column(Text(words), justify="right", no_wrap=True)
    rows = {
        answer.words: [answer.tasks.get(task, {}).get(name) for task, name in columns.values()]
        for answer in answers(results, {task for task, _ in columns.values()}, named)
    }
    best = [max((one["mean"] for one in column if one), default=None) for column in zip(*rows.values(), strict=True)]
    for label, figures in rows.items():
        if not any(figures):
            continue
        cells = []
        for figure, highest in zip(figures, best, strict=True):
            cell = _cell(figure, highest)
            if with_f1 and figure is not None:
                cell.append(f"\nF1 {figure['macro_f1']['mean']:.3f}", style="not bold dim")
            cells.append(cell)
        table.add_row(Text(label), *cells)
    return table


def _differences(results: Mapping[str, Any]) -> Group:
    """A row for each figure of both models: this one's minus the other's, with interval and p."""
    table = _table(f"This model minus {results['against']['model']}")
    for words in ("difference", "95 % interval", "p", "p adjusted"):
        table.add_column(words, justify="right", no_wrap=True)
    for task, figures in results["differences"].items():
        facts = results["data"][task]
        table.add_row(Text(task, style="bold"))
        for name, one in figures.items():
            shown = {metric_words(name, facts): one}
            if facts.get("majority_share", 0.0) > IMBALANCED and one.get("macro_f1"):
                shown[f"{metric_words(name, facts)}, F1"] = one["macro_f1"]
            for words, difference in shown.items():
                style = "bold" if difference["p_holm"] < LEVEL else ""
                interval = f"[{difference['low']:+.3f}, {difference['high']:+.3f}]"
                numbers = (f"{difference['difference']:+.3f}", interval, _p(difference["p"]), _p(difference["p_holm"]))
                table.add_row(Text(f"  {words}"), *(Text(number, style=style) for number in numbers))
    return _with_captions(table, [])


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _metrics(title: str, tasks: list[str], results: Mapping[str, Any], *, ranked: bool) -> Group:
    """A row for each figure of each task, a column for the model and each baseline. ranked: the best is bold."""
    columns = [answer for answer in answers(results, tasks) if any(answer.tasks.get(task) for task in tasks)]
    table = _table(title)
    table.padding = (0, 1, 0, 0)  # with five answers, a line of a terminal is full
    full = len(columns) > 5  # with more, intervals of baselines are in the written figures only, and terms in captions
    if full:
        columns = [answer._replace(words=ROWS.get(answer.baseline, answer.words)) for answer in columns]
    for _, words, _ in columns:
        table.add_column(
            words.replace(" ", "\n") if len(columns) > 1 else words, justify="right", no_wrap=True, vertical="bottom"
        )
    above = None
    for task in tasks:
        common = GROUPS[results["data"][task]["kind"]]
        for name in results["tasks"][task]:
            if above != (common or task):
                above = common or task
                table.add_row(Text(above, style="bold"))
            figures = [answer.tasks.get(task, {}).get(name) for answer in columns]
            choose = min if less_is_better(name) else max
            alike = not (name.endswith("nats_per_token") and results.get("against"))  # of two tokenizers they are not
            means = [figure["mean"] for figure in figures if figure] if ranked and alike else []
            best = choose(means, default=None)
            words = task if common else metric_words(name, results["data"][task])
            cells = (
                _cell(figure, best, plain=answer.baseline == "chance" or (full and answer.baseline != ""))
                for answer, figure in zip(columns, figures, strict=True)
            )
            table.add_row(Text(f"  {words}"), *cells)
    captions = [f"{task}: {caption(results['data'][task])}" for task in tasks]
    return _with_captions(table, [*captions, *counted(results, tasks, named=full)])


def _cell(figure: Mapping[str, Any] | None, best: float | None, *, plain: bool = False) -> Text:
    """Mean and half the interval; plain: the mean alone."""
    if figure is None:
        return Text("-", style="dim")
    style = "bold green" if figure["mean"] == best else ""
    digits = 1 if abs(figure["mean"]) >= 10 else 3
    text = Text(f"{figure['mean']:.{digits}f}", style=style)
    half = f"{(figure['high'] - figure['low']) / 2:.{digits}f}"
    half = half.removeprefix("0") if digits == 3 else half
    if figure["low"] < figure["high"] and not plain:
        text.append(f" \u00b1{half}", style="not bold dim")
    return text
