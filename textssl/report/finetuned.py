"""The results of fine-tuning as tables for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from textssl.errors import printable

HEADINGS = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "calibration_error": "calibration\nerror",
    "loss": "loss",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "mse": "MSE",
    "mae": "MAE",
}
ROWS = {
    "majority": "constant answer",
    "tfidf": "TF-IDF, linear",
    "probe": "frozen, linear",
    "finetune": "fine-tuned",
    "scratch": "from random weights",
}
WITH_INTERVAL = ("accuracy", "macro_f1", "pearson", "spearman")  # what is compared; all are in summary.json
LOWER = ("calibration_error", "loss", "mse", "mae")
OF_SCORES = ("mse", "mae")  # figures in the unit of the scores, of any size
WIDEST = 19  # letters of a row's name: with five figures, a line of a terminal is full
MOST_CLASSES = 12  # of a confusion matrix on a terminal


def result_tables(result: Mapping[str, Any]) -> Iterator[Table | Text]:
    """The test figures with those of the baselines, and the confusion matrix. result: as in summary.json."""
    terms = result.get("terms") or {}
    rows = {"this model": result["test"]}
    rows |= {row_words(name, terms): found for name, found in result["baselines"].items()}
    table = Table(
        title=Text(f"Test: {result['splits']['test']:,} texts", style="bold"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    for name in result["test"]:
        table.add_column(HEADINGS[name], justify="right", no_wrap=True)
    best = {name: pick(name, [row[name]["mean"] for row in rows.values() if name in row]) for name in result["test"]}
    for label, row in rows.items():
        table.add_row(
            textwrap.fill(label, WIDEST),
            *(cell(name, row.get(name), best[name]) for name in result["test"]),
        )
    yield table
    drawn = {figure.get("interval") == "seeds" for row in rows.values() for figure in row.values()}
    over = {frozenset({True}): "seeds", frozenset({False}): "test texts"}.get(
        frozenset(drawn), "seeds, for rows that are the same for all seeds over test texts"
    )
    more = "tfidf" in result["baselines"] and result["baseline_texts"] > result["splits"]["train"]
    also = "; TF-IDF also learns from the validation texts" if more else ""
    yield Text(f"\u00b1 is half a 95 % interval over {over}{also}.", style="dim")
    if result.get("temperature"):
        yield Text(f"Calibrated by cross-validation on labels: temperature {result['temperature']:.3g}.", style="dim")
    if result.get("confusion") and len(result["labels"]) <= MOST_CLASSES:
        yield Text("Confusion: true in rows, predicted in columns", style="bold")
        yield confusion_table(result["labels"], result["confusion"])


def row_words(name: str, terms: Mapping[str, str]) -> str:
    """The name of an answer's row, with what it counted where it counts terms."""
    return f"TF-IDF, {terms[name]}" if name in terms else ROWS.get(name, name)


def pick(name: str, values: Sequence[float]) -> float:
    return min(values) if name in LOWER else max(values)


def number(name: str, value: float) -> str:
    """A figure with three decimals; an error in the unit of the scores, where these would say nothing, with three
    digits."""
    return f"{value:.3g}" if name in OF_SCORES and value and not 0.01 <= abs(value) < 1e5 else f"{value:.3f}"


def cell(name: str, figure: Mapping[str, Any] | None, best: float) -> Text:
    if figure is None:
        return Text("-", style="dim")
    text = Text(number(name, figure["mean"]), style="bold green" if figure["mean"] == best else "")
    if name in WITH_INTERVAL and figure["low"] < figure["high"]:
        half = f"{(figure['high'] - figure['low']) / 2:.3f}".removeprefix("0")
        text.append(f" \u00b1{half}", style="not bold dim")
    return text


def confusion_table(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> Table:
    """A row for each true label, a column for each predicted one."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for label in labels:
        table.add_column(Text(printable(label)), justify="right")
    for place, (label, row) in enumerate(zip(labels, counts, strict=True)):
        cells = (Text(f"{n:,}", style="bold" if at == place else "" if n else "dim") for at, n in enumerate(row))
        table.add_row(Text(printable(label)), *cells)
    return table
