"""The rows of a comparison: an objective over its seeds or a baseline, its figures and what it cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from textssl.evaluation.figures.figure import bounds, less_is_better
from textssl.evaluation.figures.intervals import over_draws

NARROW = {"clusters": "clus-\nters", "recall@1": "recall\n@1", "bits/byte": "bits/\nbyte"}  # headings in the terminal
NAME_WIDTH, FIGURE_WIDTH = 13, 6  # characters in the terminal: of .123*=
TESTS = {  # paired, of a figure -> the heading of its p
    "above_random": "p above random",
    "above_start": "p above start",
    "above_tfidf": "p above TF-IDF",
    "beside_best": "p below best",
}
COST = ("tokens", "parameters", "seconds", "peak_bytes")  # what depends on the machine comes last
SHORT = {  # last part of a figure's name -> heading; the first figure of each is in the short table
    "probe_8": "8 labels",
    "probe_64": "64 labels",
    "probe_all": "all labels",
    "knn": "k-NN",
    "spearman": "STS",
    "v_measure": "clusters",
    "recall_1": "recall@1",
    "bits_per_byte": "bits/byte",
    "bound_bits_per_byte": "bits/byte, at most",
    "pseudo_bits_per_byte": "pseudo bits/byte",
    "rankme": "RankMe",
}


def make_rows(records: Sequence[tuple[str, str, dict[str, Any]]], baselines: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of objectives, best first by the first figure of the short table; failed ones after them; then baselines.

    records: (name of a configuration, its model, record of a run; empty where it has not ended). A figure over several
    seeds has Student's interval over them, of one seed its own.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, model, record in records:
        groups.setdefault((name, model), []).append(record)
    rows = [objective_row(name, model, group) for (name, model), group in groups.items()]
    first = next(iter(short_figures(rows)), None)

    def order(row: dict[str, Any]) -> tuple[bool, bool, float]:
        figure = row["figures"].get(first)
        worth = 0.0 if figure is None else figure["mean"]
        return bool(row["failed"]), figure is None, worth if first and less_is_better(first) else -worth

    rows.sort(key=order)
    rows += [
        {
            "name": one["words"],
            "kind": "baseline",
            "model": "",
            "seeds": 1,
            "pending": 0,
            "failed": None,
            "figures": one["figures"],
            "cost": {},
        }
        for one in baselines.values()
    ]
    return rows


def objective_row(name: str, model: str, records: list[dict[str, Any]]) -> dict[str, Any]:
    good = [record for record in records if "figures" in record]
    failed = [f"seed {record['seed']}: {record['failed']}" for record in records if "failed" in record]
    keys = dict.fromkeys(key for record in good for key in record["figures"])
    cost = {key: sum(record[key] for record in good) / len(good) for key in COST} if good else {}
    return {
        "name": name,
        "kind": "objective",
        "model": model,
        "seeds": len(good),
        "pending": len([record for record in records if not record]),
        "failed": "; ".join(failed) or None,
        "figures": {key: over_seeds([record for record in good if key in record["figures"]], key) for key in keys},
        "cost": cost,
    }


def over_seeds(records: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Mean and interval of a figure; its mean difference from random weights, from its start and from TF-IDF, with the
    largest p of any seed."""
    each = [record["figures"][key] for record in records]
    if len(each) == 1:
        figure: dict[str, Any] = dict(each[0])
    else:
        score = over_draws([one["mean"] for one in each], bounds(key.partition("/")[2]))
        figure = {"mean": score.mean, "low": score.low, "high": score.high}
    for against in ("above_random", "above_start", "above_tfidf"):
        found = [record[against][key] for record in records if key in record.get(against, ())]
        if found:
            least = max(found, key=lambda one: one["p"])
            figure[against] = {"difference": sum(one["difference"] for one in found) / len(found), "p": least["p"]}
    return figure


def short_figures(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """{figure: heading} of the short table: for each kind the first task that has it."""
    keys = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    found = {}
    for last, heading in SHORT.items():
        key = next((key for key in keys if key.rpartition("/")[2] == last), None)
        if key is not None:
            found[key] = heading
    return found


def shown(figure: dict[str, Any] | None) -> str:
    """A mean with half the width of its interval."""
    if figure is None:
        return ""
    digits = 3 if abs(figure["mean"]) < 10 else 0
    return f"{figure['mean']:.{digits}f} ±{(figure['high'] - figure['low']) / 2:.{digits}f}"


def terminal_table(rows: Sequence[dict[str, Any]], width: int) -> Table:
    """The short table for a terminal of so many characters; a narrow one has no room for seconds and memory."""
    chosen = short_figures(rows)
    table = Table(
        title="Objectives at an equal budget",
        caption=caption(chosen),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("", overflow="fold", min_width=NAME_WIDTH)
    for heading in chosen.values():
        table.add_column(NARROW.get(heading, heading.replace(" ", "\n")), justify="right", min_width=FIGURE_WIDTH)
    with_cost = width >= NAME_WIDTH + (FIGURE_WIDTH + 1) * len(chosen) + 16
    for heading in ("seconds", "GB") if with_cost else ():
        table.add_column(heading, justify="right")
    for row in rows:
        cost = row["cost"]
        costs = [f"{cost['seconds']:.0f}", f"{cost['peak_bytes'] / 1e9:.1f}"] if cost else ["", ""]
        state = "failed" if row["failed"] else "not run yet" if row["pending"] else ""
        name = f"{row['name']} ({state})" if state and not row["figures"] else row["name"]
        table.add_row(name, *(mark(row["figures"].get(key), key) for key in chosen), *(costs if with_cost else ()))
    return table


def mark(figure: dict[str, Any] | None, key: str) -> str:
    """A mean, with * where it is better than the same model as it starts, and = where it is not distinguishable from
    the best of its column."""
    if figure is None:
        return ""
    above = figure.get("above_start") or figure.get("above_random")
    gain = -1 if less_is_better(key) else 1
    star = "*" if above and above["p"] < 0.05 and gain * above["difference"] > 0 else ""
    beside = figure.get("beside_best")
    tied = "=" if beside and beside["p"] > 0.05 else ""
    number = f"{figure['mean']:.{3 if abs(figure['mean']) < 10 else 0}f}".removeprefix("0")
    return f"{number}{star}{tied}"  # a narrow terminal has no room for what is always 0


def caption(chosen: dict[str, str]) -> str:
    tasks = ", ".join(f"{heading}: {key.partition('/')[0]}" for key, heading in chosen.items())
    return (
        f"{tasks}. * above the same model as it starts, = not distinguishable from the best of its column (paired "
        "tests, Holm, p < 0.05); intervals are in the files."
    )


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """A line a row, three columns a figure, p of the paired tests, and what it cost."""
    keys = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("", "low", "high", *TESTS.values())
    headings = [f"{key} {part}".rstrip() for key in keys for part in parts]
    writer.writerow(["name", "kind", "model", "seeds", "state", *headings, *COST])
    for row in rows:
        state = row["failed"] or ("not run yet" if row["pending"] else "")
        cells: list[Any] = [row["name"], row["kind"], row["model"], row["seeds"], state]
        for key in keys:
            figure = row["figures"].get(key, {})
            cells += [figure.get(part, "") for part in ("mean", "low", "high")]
            cells += [figure.get(against, {}).get("p", "") for against in TESTS]
        cells += [row["cost"].get(key, "") for key in COST]
        writer.writerow(cells)
    return text.getvalue()
