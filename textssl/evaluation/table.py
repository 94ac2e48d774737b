"""The results of a suite as tables for the terminal, from the same dictionary that becomes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

ROWS = {  # key in `baselines` -> words
    "majority": "majority class",
    "tfidf": "TF-IDF",
    "random_init": "same, untrained",
}
IMBALANCED = 0.6  # share of the most frequent class from which accuracy alone misleads


def result_tables(results: Mapping[str, Any]) -> list[Table]:
    """One table a task: a row for the model and each baseline, a column for each figure with half its 95 % interval.

    results: what `evaluate` returns and writes. The best mean of a column is bold.
    """
    return [_table(task, figures, results) for task, figures in results["tasks"].items()]


def _table(task: str, figures: Mapping[str, Any], results: Mapping[str, Any]) -> Table:
    rows = {"this model": figures}
    rows |= {ROWS.get(name, name): tasks.get(task, {}) for name, tasks in results.get("baselines", {}).items()}
    facts = results["data"][task]
    table = Table(title=f"[bold]{task}[/]: accuracy", caption=caption(facts), box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify = table.caption_justify = "left"
    table.add_column("", no_wrap=True)
    for name in figures:
        table.add_column(heading(name, facts), justify="right", no_wrap=True)
    with_f1 = _largest_share(results, task) > IMBALANCED
    best = {name: max(row[name]["mean"] for row in rows.values() if name in row) for name in figures}
    for label, row in rows.items():
        cells = [_cell(row.get(name), with_f1, best[name]) for name in figures]
        table.add_row(label, *cells)
    return table


def heading(name: str, facts: Mapping[str, Any]) -> str:
    """`probe_8` -> "8 a class"."""
    if name == "probe_all":
        return f"all {facts['train_examples']:,}"
    if name.startswith("probe_"):
        return f"{name.removeprefix('probe_')} a class"
    return {"knn": "k-NN"}.get(name, name)


def caption(facts: Mapping[str, Any]) -> str:
    """How many examples the figures of a task stand on."""
    words = (
        f"{facts['train_examples']:,} training and {facts['test_examples']:,} test texts "
        f"of {facts['distinct_texts']:,}, {len(facts['classes'])} classes"
    )
    if facts.get("short_classes"):
        short = ", ".join(f"{name} {count}" for name, count in facts["short_classes"].items())
        words += f"; classes with fewer: {short}"
    if facts.get("truncated_share", 0) >= 0.005:
        words += f"; {facts['truncated_share']:.0%} of the texts cut at {facts['max_tokens']} tokens"
    return words


def legend(results: Mapping[str, Any]) -> str:
    """What the figures of all tables are."""
    return (
        f"Logistic regression on frozen features; \u00b1 is half a 95 % interval, for few labels over "
        f"{results['draws']} draws of them, else over the test texts. Every row has the same examples."
    )


def _largest_share(results: Mapping[str, Any], task: str) -> float:
    return results["data"][task].get("majority_share", 0.0)


def _cell(figure: Mapping[str, Any] | None, with_f1: bool, best: float) -> Text:
    if figure is None:
        return Text("-", style="dim")
    style = "bold green" if figure["mean"] == best else ""
    text = Text(f"{figure['mean']:.3f}", style=style)
    half = f"{(figure['high'] - figure['low']) / 2:.3f}"
    text.append(f" \u00b1{half.removeprefix('0')}", style="not bold dim")
    if with_f1:
        text.append(f"\nF1 {figure['macro_f1']['mean']:.3f}", style="not bold dim")
    return text
