"""The results of a suite as tables for the terminal, from the same dictionary that becomes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from textssl.evaluation.figure import METRICS

ROWS = {  # key in `baselines` -> words
    "majority": "majority class",
    "chance": "chance",
    "tfidf": "TF-IDF",
    "random_words": "random words",
    "random_init": "same, untrained",
}
GROUPS = {  # kind -> heading; "": the task is the heading, and the rows below are its figures
    "similarity": "Spearman",
    "word_similarity": "Spearman",
    "clustering": "V-measure",
    "retrieval": "",
    "geometry": "",
}
IMBALANCED = 0.6  # share of the most frequent class from which accuracy alone misleads


def result_tables(results: Mapping[str, Any]) -> list[Group]:
    """A table for each classification task, one for similarity, clustering and retrieval, one for geometry.

    results: what `evaluate` returns and writes. The best mean among the answers to one question is bold.
    """
    kinds = {task: results["data"][task].get("kind", "classification") for task in results["tasks"]}
    tables = [_accuracies(task, results) for task, kind in kinds.items() if kind == "classification"]
    compared = [task for task, kind in kinds.items() if kind not in ("classification", "geometry")]
    if compared:
        compared.sort(key=lambda task: list(GROUPS).index(kinds[task]))
        tables.append(_metrics("Texts compared by cosine", compared, results, ranked=True))
    geometry = [task for task, kind in kinds.items() if kind == "geometry"]
    if geometry:
        tables.append(_metrics("Geometry of the features", geometry, results, ranked=False))
    return tables


def _answers(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Words -> {task: figures} of the model and of each baseline."""
    named = {ROWS.get(name) or name: tasks for name, tasks in results.get("baselines", {}).items()}
    return {"this model": results["tasks"], **named}


def _table(title: str) -> Table:
    table = Table(title=f"[bold]{title}[/]", box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    table.add_column("", no_wrap=True)
    return table


def _with_captions(table: Table, captions: list[str]) -> Group:
    """Below the table and not in it, where a narrow table would fold them."""
    return Group(table, *(Text(words, style="table.caption") for words in captions))


def _accuracies(task: str, results: Mapping[str, Any]) -> Group:
    """A row for the model and each baseline, a column for each figure with half its 95 % interval."""
    figures, facts = results["tasks"][task], results["data"][task]
    rows = {label: tasks[task] for label, tasks in _answers(results).items() if task in tasks}
    table = _table(f"{task}: accuracy")
    for name in figures:
        table.add_column(heading(name, facts), justify="right", no_wrap=True)
    with_f1 = facts.get("majority_share", 0.0) > IMBALANCED
    best = {name: max(row[name]["mean"] for row in rows.values() if name in row) for name in figures}
    for label, row in rows.items():
        cells = []
        for name in figures:
            cell = _cell(row.get(name), best[name])
            if with_f1 and name in row:
                cell.append(f"\nF1 {row[name]['macro_f1']['mean']:.3f}", style="not bold dim")
            cells.append(cell)
        table.add_row(label, *cells)
    return _with_captions(table, [caption(facts)])


def _metrics(title: str, tasks: list[str], results: Mapping[str, Any], *, ranked: bool) -> Group:
    """A row for each figure of each task, a column for the model and each baseline. ranked: the best is bold."""
    columns = {label: of for label, of in _answers(results).items() if any(of.get(task) for task in tasks)}
    table = _table(title)
    table.padding = (0, 1, 0, 0)  # with five answers, a line of a terminal is full
    for label in columns:
        table.add_column(
            label.replace(" ", "\n") if len(columns) > 1 else label, justify="right", no_wrap=True, vertical="bottom"
        )
    above = None
    for task in tasks:
        common = GROUPS[results["data"][task]["kind"]]
        for name in results["tasks"][task]:
            if above != (common or task):
                above = common or task
                table.add_row(Text(above, style="bold"))
            figures = [of.get(task, {}).get(name) for of in columns.values()]
            best = max((figure["mean"] for figure in figures if figure), default=None) if ranked else None
            words = task.removesuffix("-clustering") if common else METRICS[name].words if name in METRICS else name
            cells = (
                _cell(figure, best, plain=label == ROWS["chance"])
                for label, figure in zip(columns, figures, strict=True)
            )
            table.add_row(f"  {words}", *cells)
    return _with_captions(table, [f"{task}: {caption(results['data'][task])}" for task in tasks])


def heading(name: str, facts: Mapping[str, Any]) -> str:
    """`probe_8` -> "8 a class"."""
    if name == "probe_all":
        return f"all {facts['train_examples']:,}"
    if name.startswith("probe_"):
        return f"{name.removeprefix('probe_')} a class"
    return {"knn": "k-NN"}.get(name, name)


def caption(facts: Mapping[str, Any]) -> str:
    """How many examples the figures of a task stand on."""
    kind = facts.get("kind", "classification")
    if kind == "classification":
        words = (
            f"{facts['train_examples']:,} training and {facts['test_examples']:,} test texts "
            f"of {facts['distinct_texts']:,}, {len(facts['classes'])} classes"
        )
    elif kind == "clustering":
        words = f"{facts['texts']:,} texts of {facts['distinct_texts']:,}, {len(facts['classes'])} classes"
    elif kind in ("similarity", "word_similarity"):
        words = f"{facts['pairs']:,} pairs" + _of(facts["pairs"], facts["available_pairs"])
    else:
        query, document = facts["columns"]
        words = f"{facts['queries']:,} x {query}, {facts['documents']:,} x {document}"
        words += _of(facts["documents"], facts["distinct_documents"])
    if facts.get("short_classes"):
        short = ", ".join(f"{name} {count}" for name, count in facts["short_classes"].items())
        words += f"; classes with fewer: {short}"
    if facts.get("dropped"):
        words += "; dropped " + ", ".join(f"{count:,} for {reason}" for reason, count in facts["dropped"].items())
    if facts.get("truncated_share", 0) >= 0.005:
        words += f"; {facts['truncated_share']:.0%} of the texts cut at {facts['max_tokens']} tokens"
    return words


def _of(used: int, available: int) -> str:
    return f" of {available:,}" if used < available else ""


def legend(results: Mapping[str, Any]) -> str:
    """What the figures of all tables are."""
    kinds = {facts.get("kind", "classification") for facts in results["data"].values()}
    lines = ["\u00b1 is half a 95 % interval. Every row and column has the same examples."]
    if "classification" in kinds:
        lines.append(
            f"Accuracy: logistic regression on frozen features; for few labels the interval is over {results['draws']} "
            "draws of them, else over the test texts."
        )
    if kinds - {"classification", "geometry"}:
        lines.append(
            "Compared by cosine: intervals are over pairs, queries or starts of k-means (which TF-IDF does on its SVD)."
        )
    if "geometry" in kinds:
        lines.append(
            "Geometry: spread is 1 for vectors in all directions alike and 0 at collapse, where the mean cosine is 1; "
            "RankMe counts directions. Of alignment (texts that belong together) and uniformity less is better, but "
            "only of both: a collapsed model aligns everything."
        )
    return "\n".join(lines)


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
