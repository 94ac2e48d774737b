"""The baselines of a comparison; each is measured once and kept in OUT/baselines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from textssl.assembly.comparison.entries import Entry, read_record
from textssl.assembly.comparison.measuring import (
    References,
    counted,
    first_classification,
    named,
    supervised,
    tfidf_map,
)
from textssl.assembly.comparison.running import Job
from textssl.evaluation.tasks.clustering import Clustering
from textssl.models.static import is_static_folder
from textssl.training.tracking import announce

Record = dict[str, Any]


def baseline_jobs(
    entries: Sequence[Entry], references: References, out: Path, console: Console, *, scratch: bool
) -> dict[str, Job]:
    """The jobs for TF-IDF and its LSA with k-means, for LSA with a mixture of Gaussians, and, with `scratch`, for the
    first transformer among the entries, trained on labels alone, once it is known which that is."""
    folder, suite = out / "baselines", references.suite
    jobs: dict[str, Job] = {}

    def add(name: str, words: str, make: Callable[[], Record]) -> None:
        def record() -> Record:
            announce(console, f"{words}: measuring")
            return {"words": words, **make()}

        jobs[name] = Job(words, folder / f"{name}.json", folder / f".{name}.lock", record)

    clustering = [task for task in suite.tasks if isinstance(task, Clustering)]
    words = "TF-IDF; clusters: LSA, k-means" if clustering else "TF-IDF"
    add("tfidf", words, lambda: {"figures": named(references.tfidf), "map": tfidf_map(suite)})
    if clustering:
        grouped = replace(suite, tasks=clustering)
        add(
            "lsa_mixture",
            "LSA, Gaussian mixture",
            lambda: {"figures": named(counted(grouped, lambda task: task.run_mixture))},
        )
    labelled = first_classification(suite.tasks) if scratch else None
    trained = first_transformer(entries)
    if labelled is not None and trained is not None:
        model = trained.run / "model"
        add(
            "supervised",
            f"supervised from scratch, {trained.model}",
            lambda: {"figures": named({labelled.name: supervised(model, suite)})},
        )
    return jobs


def first_transformer(entries: Sequence[Entry]) -> Entry | None:
    """The first entry whose run ended with a transformer, which labels alone could train as well.

    None as long as an entry before it has not ended: another process may be at it, and each has to find the same one.
    """
    for entry in entries:
        record, model = read_record(entry.record), entry.run / "model"
        if record is None:
            return None
        if "figures" in record and model.is_dir() and not is_static_folder(model):
            return entry
    return None


def measured_baselines(jobs: dict[str, Job], records: Sequence[tuple[Entry, Record]]) -> dict[str, Record]:
    """{name: {"words", "figures", ...}} of those that are done; the random weights of each backbone, and what it starts
    from where that is more."""
    found = {name: record for name, job in jobs.items() if (record := read_record(job.file)) is not None}
    for kind, words in {"random": "random initialisation", "start": "as it starts"}.items():
        untrained: dict[str, Record] = {}
        for entry, record in records:
            if kind in record:
                row = untrained.setdefault(entry.backbone, {"words": f"{words}, {entry.model}", **record[kind]})
                row["figures"] = {**record[kind]["figures"], **row["figures"]}  # an encoder has none of language
        seen: Counter[str] = Counter()
        for number, record in enumerate(untrained.values(), 1):
            seen[record["words"]] += 1
            if seen[record["words"]] > 1:
                record["words"] += f" ({seen[record['words']]})"
            found[f"{kind}_{number}"] = record
    return found
