"""A comparison as one HTML page that needs no network: its data and its script are inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textssl.evaluation.figures.figure import UNRANKED, less_is_better
from textssl.report import page
from textssl.report.comparison.rows import short_figures, shown

SHOTS = "probe_"


def write_page(path: Path, comparison: dict[str, Any]) -> None:
    """Write the page. comparison: what `textssl compare` writes as results.json."""
    page.write_page(path, "textssl.report.comparison", page_data(comparison))


def page_data(comparison: dict[str, Any]) -> dict[str, Any]:
    """What the page's script draws: rows, curves of label efficiency and of training, and maps."""
    rows, entries = comparison["rows"], comparison["entries"]
    keys = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    short = short_figures(rows)
    words = {key: short.get(key, key) for key in [*short, *(key for key in keys if key not in short)]}
    firsts = {  # of each row the first seed that has ended
        row["name"]: record
        for row in rows
        for record in [next((one for one in entries.values() if one.get("name") == row["name"] and "map" in one), None)]
        if record is not None
    }
    maps = {name: record["map"] for name, record in firsts.items() if record["map"]}
    maps |= {one["words"]: one["map"] for one in comparison["baselines"].values() if one.get("map")}
    return {
        "settings": comparison["settings"],
        "columns": [
            {"key": key, "words": heading, "low": lowest_is_best(key), "short": key in short}
            for key, heading in words.items()
        ],
        "rows": [{**row, "shown": {key: shown(row["figures"].get(key)) for key in keys}} for row in rows],
        "efficiency": efficiency(rows),
        "curves": {name: record["curves"] for name, record in firsts.items()},
        "maps": maps,
        "texts": comparison["map"]["texts"],
        "labels": comparison["map"]["labels"],
    }


def lowest_is_best(key: str) -> bool | None:
    """None for a figure that ranks nothing."""
    return None if key.rpartition("/")[2] in UNRANKED else less_is_better(key)


def efficiency(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """{"task", "rows": {name: [[labels a class, mean, low, high], ...]}} of the task with most label counts."""
    tasks: dict[str, dict[str, list[list[float]]]] = {}
    for row in rows:
        for key, figure in row["figures"].items():
            task, _, name = key.rpartition("/")
            count = name.removeprefix(SHOTS)
            if name.startswith(SHOTS) and count.isdigit():
                points = tasks.setdefault(task, {}).setdefault(row["name"], [])
                points.append([int(count), figure["mean"], figure["low"], figure["high"]])
    if not tasks:
        return {"task": None, "rows": {}}
    task = max(tasks, key=lambda one: max(len(points) for points in tasks[one].values()))
    return {"task": task, "rows": {name: sorted(points) for name, points in tasks[task].items()}}
