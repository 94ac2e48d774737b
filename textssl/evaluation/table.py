"""The results of a suite as tables for the terminal, from the same dictionary that becomes JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
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
GROUPS = {  # kind -> heading; the metric is named there where a task of the kind has one only
    "similarity": "similarity (Spearman)",
    "word_similarity": "similarity (Spearman)",
    "clustering": "clustering (V-measure)",
    "retrieval": "",
    "geometry": "",
}
IMBALANCED = 0.6  # share of the most frequent class from which accuracy alone misleads


def result_tables(results: Mapping[str, Any]) -> list[Table]:
    """A table for each classification task, one for similarity, clustering and retrieval, one for geometry.

    results: what `evaluate` returns and writes. The best mean among the answers to one question is bold.
    """
    kinds = {task: results["data"][task].get("kind", "classification") for task in results["tasks"]}
    tables = [_accuracies(task, results) for task, kind in kinds.items() if kind == "classification"]
    compared = [task for task, kind in kinds.items() if kind not in ("classification", "geometry")]
    if compared:
        compared.sort(key=lambda task: list(GROUPS).index(kinds[task]))
        tables.append(_metrics("Texts compared by cosine", compared, results))
    geometry = [task for task, kind in kinds.items() if kind == "geometry"]
    if geometry:
        tables.append(_metrics("Geometry of the features", geometry, results))
    return tables


def _answers(results: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Words -> {task: figures} of the model and of each baseline."""
    named = {ROWS.get(name) or name: tasks for name, tasks in results.get("baselines", {}).items()}
    return {"this model": results["tasks"], **named}


def _table(title: str, captions: list[str]) -> Table:
    table = Table(title=f"[bold]{title}[/]", caption="\n".join(captions), box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("", no_wrap=True)
    return table


def _accuracies(task: str, results: Mapping[str, Any]) -> Table:
    """A row for the model and each baseline, a column for each figure with half its 95 % interval."""
    figures, facts = results["tasks"][task], results["data"][task]
    rows = {label: tasks[task] for label, tasks in _answers(results).items() if task in tasks}
    table = _table(f"{task}: accuracy", [caption(facts)])
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
    return table


def _metrics(title: str, tasks: list[str], results: Mapping[str, Any]) -> Table:
    """A row for each figure of each task, a column for the model and each baseline."""
    columns = {label: of for label, of in _answers(results).items() if any(of.get(task) for task in tasks)}
    table = _table(title, [f"{task}: {caption(results['data'][task])}" for task in tasks])
    for label in columns:
        table.add_column(label.replace(" ", "\n"), justify="right", no_wrap=True, vertical="bottom")
    above = None
    for task, name, group in _metric_rows(tasks, results):
        if group != above:
            table.add_row(Text(group, style="bold"))
            above = group
        figures = [of.get(task, {}).get(name) for of in columns.values()]
        metric = METRICS.get(name)
        better = metric.better if metric else 1
        values = [figure["mean"] for figure in figures if figure is not None]
        best = max(values, key=lambda value: value * better) if better and len(values) > 1 else None
        words = task if GROUPS[results["data"][task]["kind"]] else _words(name)
        table.add_row(f"  {words}", *(_cell(figure, best) for figure in figures))
    return table


def _metric_rows(tasks: list[str], results: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(task, figure name, heading it stands under)."""
    for task in tasks:
        for name in results["tasks"][task]:
            yield task, name, GROUPS[results["data"][task]["kind"]] or task


def _words(name: str) -> str:
    """A figure's name, with an arrow where less is better."""
    metric = METRICS.get(name)
    if metric is None:
        return name
    return f"{metric.words} (less is better)" if metric.better < 0 else metric.words


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
            "Compared by cosine: intervals are over pairs, queries, and starts of k-means (TF-IDF: on its SVD)."
        )
    if "geometry" in kinds:
        lines.append(
            "Geometry: spread is 1 for vectors in all directions alike and 0 for collapse, where the mean cosine is 1; "
            "alignment is of texts that belong together and good only if uniformity is."
        )
    return "\n".join(lines)


def _cell(figure: Mapping[str, Any] | None, best: float | None) -> Text:
    if figure is None:
        return Text("-", style="dim")
    style = "bold green" if figure["mean"] == best else ""
    if abs(figure["mean"]) >= 10:
        text, half = Text(f"{figure['mean']:.1f}", style=style), f"{(figure['high'] - figure['low']) / 2:.1f}"
    else:
        text, half = Text(f"{figure['mean']:.3f}", style=style), f"{(figure['high'] - figure['low']) / 2:.3f}"
    if figure["low"] < figure["high"]:
        text.append(f" \u00b1{half.removeprefix('0')}", style="not bold dim")
    return text
