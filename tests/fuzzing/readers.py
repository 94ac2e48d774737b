"""Trials of what reads files: documents, labelled sets, splits, pairs, suites, unfinished vectors, corpora, models."""

from __future__ import annotations

import inspect
import json
import math
import re
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.fuzzing.files import (
    HUGE,
    Made,
    Row,
    lines_of,
    mutated,
    plain,
    read_independently,
    usable,
    write_file,
)
from tests.fuzzing.trial import Trial, check
from textssl.data.labelled import given_pairs as pairs
from textssl.data.labelled import labelled_set as labeled
from textssl.data.labelled.splits import read_splits
from textssl.data.text.documents import DropReport, read_documents
from textssl.inference import vector_file as vectors
from textssl.sections import DataConfig

TABLES = (".jsonl", ".csv", ".parquet")
ODD = (0.0, 0.05, 0.2, 0.6)
NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
Maker = Callable[[Random, Path], Trial]


def documents(rng: Random, folder: Path) -> Trial:
    odd = rng.choice(ODD)
    made = write_file(rng, folder, ("text", *rng.sample(("id", "label"), rng.randrange(3))), odd, (*TABLES, ".txt"))
    unit = rng.choice(("blank-line", "line", "file"))
    strict = odd > 0 and rng.random() < 0.1

    def run() -> None:
        report = DropReport()
        read = [
            document.text
            for document in read_documents([made.path], one_document_per=unit, strict=strict, report=report)
        ]
        expected = expected_documents(made, unit)
        if expected is not None:
            texts, count = expected
            check(read == texts, f"read {read!r:.600}, an independent reading gives {texts!r:.600}")
            dropped = report.total - (made.suffix != ".parquet" and report.counts["truncated file"])
            check(len(read) + dropped == count or strict, f"{len(read)} read, {report.as_dict()}, of {count} records")
        for text in read:
            check(usable(text), f"{text!r:.200} is no text")
        report.summary()

    return Trial(f"documents of {made} by {unit}", run, clean=odd == 0)


def expected_documents(made: Made, unit: str) -> tuple[list[str], int] | None:
    """The texts of a file and how many records it has, by other means."""
    if made.suffix == ".txt":
        lines = lines_of(made.raw) if made.intact else None
        if lines is None:
            return None
        blocks = blocks_of(lines, unit)
        texts = [block.decode("utf-8", "replace") if is_utf8(block) else "" for block in blocks]
        return [text for text in texts if usable(text)], len(blocks)
    rows = read_independently(made)
    if rows is None:
        return None
    return [plain(row["text"]) for row in rows if row is not None and usable(row.get("text"))], len(rows)


def blocks_of(lines: list[bytes], unit: str) -> list[bytes]:
    if unit == "line":
        return lines
    whole = b"\n".join(lines)
    if unit == "file":
        first = next((place for place, line in enumerate(lines) if line.strip()), len(lines))
        return [b"\n".join(lines[first:])]
    return [block.strip(b"\n") for block in re.split(rb"(?:\A|\n)(?:[ \t\r\f\v]*(?:\n|\Z))+", whole) if block.strip()]


def is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def labelled(rng: Random, folder: Path) -> Trial:
    odd = rng.choice(ODD)
    paired, target = rng.random() < 0.3, rng.choice(("label", "score"))
    columns = (*(("text_a", "text_b") if paired else ("text",)), target)
    made = write_file(rng, folder, columns, odd, TABLES)
    varied = rng.random() < 0.5

    def run() -> None:
        report = DropReport()
        found = labeled.read_labeled(made.path, report=report, varied=varied)
        rows = read_independently(made)
        lists = [found.texts, found.text_b, found.scores if found.scores is not None else found.labels]
        check(len({len(one) for one in lists if one is not None}) == 1, "lists of several lengths")
        if rows is None:
            return
        sides = ["text_a", "text_b"] if found.text_b is not None else ["text"]
        value_of = score_of if found.scores is not None else label_of
        name = "score" if found.scores is not None else "label"
        expected = [
            (*(plain(row[side]) for side in sides), value_of(plain(row.get(name))))
            for row in rows
            if row is not None and all(usable(row.get(side)) for side in sides)
        ]
        expected = [one for one in expected if one[-1] is not None]
        got = list(zip(*(one for one in lists if one is not None), strict=True))
        check(got == expected, f"read {got!r:.600}, an independent reading gives {expected!r:.600}")
        check(len(got) + report.total == len(rows), f"{len(got)} read, {report.as_dict()}, of {len(rows)} records")

    return Trial(f"labelled {made}", run, clean=odd == 0)


def label_of(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if math.isfinite(value) and value == int(value) else None
    if isinstance(value, int):
        return str(value)
    return value.strip() if usable(value) else None


def score_of(value: Any) -> float | None:
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            return None
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return float(value) if abs(value) <= 1e15 else None


def splits(rng: Random, folder: Path) -> Trial:
    odd = rng.choice(ODD)
    target = rng.choice(("label", "score"))
    made = write_file(rng, folder, ("text", target), odd, TABLES)
    share = rng.choice((0.1, 0.5, 0.99))

    def run() -> None:
        data = DataConfig(train=str(made.path), test_share=share, validation_share=rng.choice((0.0, 0.1)))
        found = read_splits(data, 0)
        texts = [text for part in found.parts.values() for text in part.texts]
        check(len(set(texts)) == len(texts), "a text stands in two parts")
        check(bool(found.fingerprint) and found.facts is not None, "no facts")
        rows = read_independently(made)
        if rows is not None:
            check(
                len(texts) + found.report.total == len(rows), f"{len(texts)} of {len(rows)}: {found.report.as_dict()}"
            )

    return Trial(f"splits of {made}", run, clean=odd == 0 and target == "label" and share < 0.9)


def given_pairs(rng: Random, folder: Path) -> Trial:
    odd = rng.choice(ODD)
    more = rng.sample(("label", "score", "negative", "negative_1", "negative_2"), rng.randrange(3))
    made = write_file(rng, folder, ("text_a", "text_b", *more), odd, TABLES)
    target = rng.choice(("auto", "label", "score", "none"))

    def run() -> None:
        report = DropReport()
        order = pairs.read_pairs(
            made.path,
            lambda texts: [[ord(letter) for letter in text] for text in texts],
            seed=0,
            length=10**5,
            score_range=(-1.0, 1.0),
            report=report,
            target=target,
        )
        rows = read_independently(made)
        got = [tuple("".join(map(chr, side)) for side in (pair.left, pair.right)) for pair in order.pairs]
        if rows is None:
            return
        good = [row for row in rows if row is not None and usable(row.get("text_a")) and usable(row.get("text_b"))]
        good = [row for row in good if all(usable(text) for text in negatives_of(row))]
        expected = [(plain(row["text_a"]), plain(row["text_b"])) for row in good]
        check(got == expected, f"read {got!r:.600}, an independent reading gives {expected!r:.600}")
        records = report.total - report.counts["negative without a text"]
        check(len(got) + records >= len(rows), f"{len(got)} read, {report.as_dict()}, of {len(rows)} records")
        if order.facts.classes:
            labels = [str(value).strip() if isinstance(value, bool) else label_of(value) for value in labels_of(good)]
            got_labels = [order.facts.classes[int(pair.target or 0)] for pair in order.pairs]
            check(got_labels == labels, f"labels {got_labels!r:.300}, an independent reading gives {labels!r:.300}")
        if order.facts.scored:
            scores = [score_of(plain(row.get("score"))) for row in good]
            check([pair.target for pair in order.pairs] == scores, f"scores {scores!r:.600}")

    return Trial(f"pairs of {made}, {target}", run, clean=False)


def negatives_of(row: Row) -> list[str]:
    """The negatives of a record that are not empty."""
    texts = [plain(value) for name, value in row.items() if name.startswith("negative")]
    return [text for text in texts if isinstance(text, str) and text.strip()]


def labels_of(rows: list[Row]) -> list[Any]:
    return [plain(row.get("label")) for row in rows]


def suites(rng: Random, folder: Path) -> Trial:
    import yaml

    from textssl.evaluation.suite import KINDS, load_suite

    made = write_file(rng, folder, ("text", "label"), rng.choice((0.0, *ODD)), TABLES)
    tasks: list[Any] = []
    odd = rng.choice((0.0, 0.1, 0.5))
    for number in range(rng.choice((1, 1, 2, 3))):
        kind = rng.choice(("classification", "clustering", "retrieval", "geometry"))
        options = [name for name in inspect.signature(KINDS[kind]).parameters if name not in ("name", "path")]
        task: Row = {"name": f"task{number}", "kind": kind, "path": made.path.name}
        for option in rng.sample(options, min(len(options), rng.randrange(3))):
            if rng.random() < odd:
                task[option] = odd_setting(rng)
        if rng.random() < odd:
            key: Any = rng.choice(("name", "kind", "path", "other", 7))
            task[key] = odd_setting(rng)
        tasks.append(task if rng.random() > odd / 3 else odd_setting(rng))
    values: dict[Any, Any] = {"tasks": tasks if rng.random() > odd / 3 else odd_setting(rng)}
    for key in rng.sample(("max_tokens", "draws", "shots", "seed", "initialisations", "other"), rng.randrange(3)):
        if rng.random() < odd:
            values[key] = odd_setting(rng)
    text = yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")
    if rng.random() < odd / 2:
        text = mutated(rng, text)
    file = folder / "suite.yaml"
    file.write_bytes(text)

    def run() -> None:
        suite = load_suite(file)
        for task in suite.tasks:
            check(type(task) in KINDS.values(), f"{task!r} is no task")
            if str(getattr(task, "path", "")).startswith(str(folder)):
                task.facts()

    return Trial(f"suite {text[:400]!r} of {made}", run)


def odd_setting(rng: Random) -> Any:
    return rng.choice((
        *(None, True, False, 0, 1, 2, -1, 1.5, 10**9, 2**31, 2**63, 2**64, 10**90, 1e300, float("nan"), float("inf")),
        *("", "x", "null", "1", "-1", "1e3", "auto", HUGE, "a" * 5000, "~nosuchuser/x", "/dev/null", "../..", "a\0b"),
        *("[bold]", "\x1b[31m", "caf\u00e9", [], [1], ["a"], [[]], {}, {"a": 1}, {"a": {"b": []}}, [None], [-1, 2**64]),
    ))  # fmt: skip


def unfinished_vectors(rng: Random, folder: Path) -> Trial:
    """A job that was killed, its side folder damaged, and started again."""
    out = folder / f"vectors{rng.choice(vectors.SUFFIXES)}"
    precision = rng.choice(vectors.PRECISIONS)
    rows = np.arange(24, dtype=np.float32).reshape(6, 4) / 32
    sources = [f"notes.txt:{number}" for number in range(6)]

    def job(until: int) -> vectors.VectorWriter:
        with vectors.VectorWriter(out, width=4, precision=precision, settings={"model": "m"}) as writer:
            for row in range(writer.resumed, until):
                writer.add(rows[row : row + 1], sources[row : row + 1], truncated=0, tokens=1)
            if until == len(rows):
                writer.finish()
        return writer

    job(3)
    side = folder / f".{out.name}.partial"
    damaged = rng.choice(("progress.json", "vectors.npy", "ids.jsonl", "none"))
    if damaged != "none":
        file = side / damaged
        raw = (
            odd_json(rng, file)
            if rng.random() < 0.5 and damaged == "progress.json"
            else mutated(rng, file.read_bytes())
        )
        file.write_bytes(raw)

    def run() -> None:
        writer = job(len(rows))
        check(out.is_file(), "no result")
        if out.suffix == ".npy":
            made = np.load(out)
            check(made.shape == rows.shape, f"{made.shape}")
            ids = [json.loads(line) for line in out.with_suffix(".ids.jsonl").read_text().splitlines()]
            check(ids == [{"row": row, "source": source} for row, source in enumerate(sources)], f"ids are {ids}")
            check(bool(np.isfinite(made).all()), "not finite")
            if precision != "int8":
                check(bool((made == rows).all()), f"resumed after {writer.resumed}, {made.tolist()}")

    return Trial(f"{out.name} in {precision} after {damaged} was damaged", run)


def odd_json(rng: Random, file: Path) -> bytes:
    """A JSON file with one of its values, at any depth, replaced."""
    value = json.loads(file.read_bytes())
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        for key in inner if isinstance(inner, dict) else range(len(inner)) if isinstance(inner, list) else ():
            places.append((inner, key))
            if len(places) < 2000:
                walk(inner[key])

    walk(value)
    if not places or rng.random() < 0.05:
        return json.dumps(odd_setting(rng)).encode("utf-8", "surrogatepass")
    parent, key = rng.choice(places)
    if rng.random() < 0.2 and isinstance(parent, dict):
        del parent[key]
    else:
        parent[key] = odd_setting(rng)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def damaged_copy(rng: Random, source: Path, folder: Path, pattern: str = "*") -> str:
    """A copy of a folder with one file damaged; returns what was done."""
    shutil.copytree(source, folder)
    file = rng.choice([file for file in sorted(folder.rglob(pattern)) if file.is_file()])
    if file.suffix == ".json" and rng.random() < 0.6:
        file.write_bytes(odd_json(rng, file))
    elif rng.random() < 0.1:
        file.unlink()
    else:
        file.write_bytes(mutated(rng, file.read_bytes()))
    return f"{file.relative_to(folder)}: {file.read_bytes()[:200] if file.exists() else 'removed'!r}"


class Corpora:
    """Trials of a prepared corpus, copied from SOUND/corpus and damaged."""

    def __init__(self, sound: Path) -> None:
        self.sound = sound

    def corpora(self, rng: Random, folder: Path) -> Trial:
        what = damaged_copy(rng, self.sound / "corpus", folder / "corpus")

        def run() -> None:
            from textssl.data.corpus.corpus import Corpus
            from textssl.data.corpus.shards import open_shard

            open_shard.cache_clear()
            corpus, whole = Corpus.open(folder / "corpus"), Corpus.open(self.sound / "corpus")
            corpus.check()
            read = [(end - first) for _, first, end in corpus.document_bounds()]
            check(read == [(end - first) for _, first, end in whole.document_bounds()], "other documents")
            if corpus.held_out.is_dir():
                Corpus.open(corpus.held_out).check()
            open_shard.cache_clear()

        return Trial(f"corpus, {what}", run)
