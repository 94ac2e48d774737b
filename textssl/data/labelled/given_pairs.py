"""Given pairs of texts: the file, checked and tokenized, and their order over the epochs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from textssl.data.keyed_random import PAIRS
from textssl.data.labelled.numbers import number_of
from textssl.data.plan.in_memory import InMemory
from textssl.data.text import drops
from textssl.data.text.documents import has_surrogate, is_usable
from textssl.data.text.drops import DropReport
from textssl.data.text.formats import table_records
from textssl.data.text.inputs import expand_inputs, file_format
from textssl.data.text.records import Record
from textssl.errors import UserError, excerpt, listed
from textssl.sample_types import Pair, PairFacts

COLUMNS = ("text_a", "text_b", "label", "score")
NEGATIVES = ("negative", *(f"negative_{number}" for number in range(1, 101)))
_NEGATIVE_NAMES = frozenset(NEGATIVES)
WANTED = "a pair file has the columns text_a and text_b, and where known negative, negative_1, ..., label, score"
Encode = Callable[[Sequence[str]], Sequence[Sequence[int]] | Sequence[np.ndarray]]


class PairOrder(InMemory):
    """Pairs in a new keyed order every epoch.

    facts: what the pairs have in common. fingerprint: changes when any text, label or score does.
    """

    def __init__(self, pairs: list[Pair], facts: PairFacts, seed: int, fingerprint: str):
        super().__init__(pairs, seed, PAIRS)
        self.facts, self.fingerprint = facts, fingerprint

    @property
    def pairs(self) -> Sequence[Pair]:
        return self.items


def read_pairs(
    path: str | Path,
    encode: Encode,
    *,
    seed: int,
    length: int,
    score_range: tuple[float, float],
    report: DropReport,
    target: Literal["auto", "label", "score", "none"] = "auto",
) -> PairOrder:
    """Read a .jsonl, .csv or .parquet file (compressed or not), `sample:NAME` or a hub data set of pairs.

    encode: texts -> ids without special tokens. length: tokens at which a text is cut. score_range: lowest and highest
    score. target: the column to learn from; `auto` takes the label, or the score where there is no label. Records whose
    texts are empty, broken or without tokens are dropped and counted in `report`. Raises UserError, with the place, for
    a missing or unknown column, a pair with one text only, a label or score that is missing, a score out of range, and
    for a file with one label only or without pairs.
    """
    records = pair_records(str(path), report)
    columns = dict.fromkeys(column for record in records for column in record.columns)
    negatives = negative_columns(columns, records)
    labels = [label(record) for record in records] if "label" in columns and target in ("auto", "label") else []
    scored = "score" in columns and not labels and target in ("auto", "score")
    scores = [score(record, score_range) for record in records] if scored else []
    classes = tuple(sorted(set(labels)))
    if len(classes) == 1:
        raise UserError(
            f"data.pairs={path}: every pair has the label {excerpt(classes[0])}; leave the column out, or give two"
        )
    targets = [float(classes.index(one)) for one in labels] or scores or [None] * len(records)
    texts = [
        [record.fields["text_a"], record.fields["text_b"]]
        + [text for column in negatives if is_text(text := record.fields.get(column))]
        for record in records
    ]
    ids = iter(encode_all([text for pair in texts for text in pair], encode, length))
    encoded = [[next(ids) for _ in pair] for pair in texts]
    pairs = [
        Pair(left, right, [one for one in others if len(one)], target)
        for (left, right, *others), target, record in zip(encoded, targets, records, strict=True)
        if has_tokens(left, right, record, report)
    ]
    if not pairs:
        raise UserError(f"data.pairs={path} holds no pair that can be used; dropped: {report.summary()}")
    facts = PairFacts(max(len(pair.negatives) for pair in pairs), classes, bool(scores))
    digest = hashlib.sha256(json.dumps([texts, targets, classes]).encode()).hexdigest()[:16]
    return PairOrder(pairs, facts, seed, digest)


def pair_records(path: str, report: DropReport) -> list[Record]:
    """The records whose texts can be used. Raises UserError where there are none, or no columns for the texts."""
    sources = expand_inputs([path], report)
    if len(sources) > 1 or file_format(sources[0]) == ".txt":
        raise UserError(f"data.pairs={path} is not one table: give a .jsonl, .csv or .parquet file; {WANTED}")
    drop = report.recorder(False)
    records = list(table_records(sources[0], [*COLUMNS, *NEGATIVES], drop))
    if not records:
        dropped = f"; dropped: {report.summary()}" if report.total else ""
        raise UserError(f"data.pairs={path} holds no pair{dropped}; {WANTED}")
    columns = dict.fromkeys(column for record in records for column in record.columns)
    for column in ("text_a", "text_b"):
        if column not in columns:
            raise UserError(f"{records[0].place}: there is no column {column}; there are {listed(columns)}; {WANTED}")
    kept = [record for record in records if usable(record, drop)]
    if not kept:
        raise UserError(f"data.pairs={path} holds no pair that can be used; dropped: {report.summary()}")
    return kept


def negative_columns(columns: Collection[str], records: list[Record]) -> list[str]:
    """The columns of negatives. Raises UserError for a name that only looks like one and for values other than text."""
    for column in columns:
        if column.startswith("negative") and column not in NEGATIVES:
            raise UserError(f"{records[0].place}: the column {column[:80]} is unknown; {WANTED}")
    found = [column for column in columns if column in NEGATIVES]
    for record in records:
        for column in found:
            value = record.fields.get(column)
            if value is not None and not isinstance(value, str):
                raise UserError(f"{record.place}: {column} is a {type(value).__name__}; a negative is a text")
    return found


def usable(record: Record, drop: drops.Drop) -> bool:
    """Whether both texts are there and can be tokenized, as all negatives can; if not, the record goes to `drop`.

    Raises UserError where only one of the two is there, which is a mistake in the file and not in a text.
    """
    given = [is_text(record.fields.get(column)) for column in ("text_a", "text_b")]
    if given[0] != given[1]:
        missing = "text_b" if given[0] else "text_a"
        raise UserError(f"{record.place}: the pair has no {missing}; give both texts, or leave the record out")
    negatives = [name for name, value in record.fields.items() if name in _NEGATIVE_NAMES and is_text(value)]
    return all(is_usable(record.fields.get(column), record.place, drop) for column in ("text_a", "text_b", *negatives))


def has_tokens(left: np.ndarray, right: np.ndarray, record: Record, report: DropReport) -> bool:
    """Whether both texts have tokens (one of control characters alone may have none); if not, it is counted."""
    if len(left) and len(right):
        return True
    report.add(drops.NO_TOKENS, record.place)
    return False


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def label(record: Record) -> str:
    value = record.fields.get("label")
    if value is None or not str(value).strip() or (isinstance(value, float) and math.isnan(value)):
        raise UserError(f"{record.place}: the pair has no label, others of this file have one")
    if not isinstance(value, str | int) and not (isinstance(value, float) and value.is_integer()):
        raise UserError(f"{record.place}: the label {excerpt(value)} is neither a string nor a whole number")
    text = str(int(value)) if isinstance(value, float) else str(value).strip()
    if has_surrogate(text):
        raise UserError(
            f"{record.place}: the label {excerpt(text)} holds half of a surrogate pair, which is no character"
        )
    return text


def score(record: Record, score_range: tuple[float, float]) -> float:
    value = record.fields.get("score")
    number = number_of(value)
    if math.isnan(number):
        raise UserError(f"{record.place}: the score {excerpt(value)} is not a number")
    if not score_range[0] <= number <= score_range[1]:
        raise UserError(
            f"{record.place}: the score {number:g} is outside objective.score_range={list(score_range)}: "
            "set the range to the lowest and highest score of the file, e.g. objective.score_range=[0,5]"
        )
    return number


def encode_all(texts: list[str], encode: Encode, length: int, at_once: int = 4096) -> list[np.ndarray]:
    """Ids (tokens,) int64 of each text, cut at `length` tokens, `at_once` texts at a time."""
    found: list[np.ndarray] = []
    for start in range(0, len(texts), at_once):
        found += [np.array(ids[:length], dtype=np.int64) for ids in encode(texts[start : start + at_once])]
    return found
