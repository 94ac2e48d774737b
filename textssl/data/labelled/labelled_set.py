"""Labelled sets: texts with a class, or pairs of texts with a score, from any table that documents are read from."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from textssl.data.labelled.numbers import number_of
from textssl.data.samples.cache import PREFIX
from textssl.data.text import drops
from textssl.data.text.documents import is_usable
from textssl.data.text.drops import DropReport
from textssl.data.text.formats import table_records
from textssl.data.text.inputs import expand_inputs, file_format
from textssl.data.text.records import Record
from textssl.errors import UserError, excerpt, listed

Target = Literal["auto", "label", "score"]
MOST_CLASSES = 10_000
LARGEST_SCORE = 1e15  # so that sums of squares stay within float32
_WANTED = "a labelled set has the columns text (or text_a and text_b) and label or score"
_OTHER_TARGET = {  # a missing column -> the one that may be there instead, and what learns from it
    "label": ("score", "scores are learned with `textssl finetune regression` (objective.name=regression)"),
    "score": ("label", "labels are learned with `textssl finetune classification` (objective.name=classification)"),
}
_COLUMNS = ("text", "text_a", "text_b", "label", "score")


@dataclass
class Labeled:
    """A labelled set in memory; lists that are not empty have the same length.

    `texts` are the texts, or the first texts of pairs, whose second are `text_b`. `labels` are strings and empty where
    the set has scores only; `scores` is None where it has labels only. `report` says what was dropped.
    """

    name: str
    texts: list[str]
    labels: list[str]
    text_b: list[str] | None = None
    scores: list[float] | None = None
    report: DropReport = field(default_factory=DropReport)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def label_names(self) -> list[str]:
        """The classes, sorted: the order of a classifier's outputs."""
        return sorted(set(self.labels))

    @property
    def kind(self) -> str:
        """What the set holds, in words."""
        return (
            f"{'pairs of texts' if self.text_b is not None else 'texts'} with {'labels' if self.labels else 'scores'}"
        )

    def key(self, place: int) -> str:
        """The text of a record, or its two texts as one."""
        return self.texts[place] if self.text_b is None else f"{self.texts[place]}\0{self.text_b[place]}"

    def words(self, place: int) -> str:
        """The key with single spaces for all white space: records with the same words are duplicates."""
        return "\0".join(" ".join(text.split()) for text in self.key(place).split("\0"))

    def take(self, places: Sequence[int]) -> "Labeled":
        """The records at these indices, in this order."""
        columns = {}
        for name in ("texts", "labels", "text_b", "scores"):
            values = getattr(self, name)
            columns[name] = [values[place] for place in places] if values else values
        return replace(self, **columns)


def text_hash(text: str) -> int:
    """The first 8 bytes of sha256 as a number below 2^64."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def read_labeled(
    path: str | Path,
    *,
    strict: bool = False,
    report: DropReport | None = None,
    target: Target = "auto",
    varied: bool = True,
) -> Labeled:
    """Read a labelled .jsonl, .csv or .parquet file (compressed or not), `sample:NAME` or a hub data set.

    Records without a label, without a text or otherwise broken are dropped and counted in `report`. target: which
    column to read; auto takes the score of pairs and of texts without a label, else the label.

    Raises UserError for a missing file or column, an empty set, labels that are numbers in one record and strings in
    another, more classes than MOST_CLASSES; if `varied`, for more classes than half the records (and than 10) and for a
    single class or score; and with `strict` at the first broken record.
    """
    report = report if report is not None else DropReport()
    source = _single_source(str(path), report)
    drop = report.recorder(strict)
    records = list(table_records(source, _COLUMNS, drop))
    if not records:
        raise UserError(f"{path} holds no labelled record{_because(report)}")
    columns = dict.fromkeys(column for record in records for column in record.columns)
    pairs = "text_a" in columns and "text_b" in columns
    if target == "auto":
        target = "score" if "score" in columns and (pairs or "label" not in columns) else "label"
    for column in (*(("text_a", "text_b") if pairs else ("text",)), target):
        if column not in columns:
            found = listed(columns) or "none"
            instead = _OTHER_TARGET[target][1] if column == target and _OTHER_TARGET[target][0] in columns else _WANTED
            raise UserError(f"{records[0].place}: there is no column {column}; there are {found}; {instead}")
    result = Labeled(_name(str(path)), [], [], [] if pairs else None, [] if target == "score" else None, report)
    kinds: dict[str, str] = {}  # kind of label -> where it first occurred
    for record in _with_texts(records, pairs, drop):
        value = _score(record, drop) if target == "score" else _label(record, kinds, drop)
        if value is None:
            continue
        result.texts.append(record.fields["text_a" if pairs else "text"])
        if result.text_b is not None:
            result.text_b.append(record.fields["text_b"])
        if result.scores is not None:
            result.scores.append(float(value))
        else:
            result.labels.append(str(value))
    _check_variety(str(path), result, varied)
    return result


def _single_source(path: str, report: DropReport) -> str:
    sources = expand_inputs([path], report)
    if len(sources) > 1:
        names = ", ".join(Path(source).name for source in sources[:4])
        raise UserError(f"{path} stands for {len(sources)} files ({names}...), a labelled set is one file: name it")
    if file_format(sources[0]) == ".txt":
        raise UserError(f"{path} is a .txt file, which has no columns; {_WANTED}, as .jsonl, .csv or .parquet")
    return sources[0]


def _name(path: str) -> str:
    """`bbc` for sample:bbc and for bbc.jsonl.gz."""
    if path.startswith(PREFIX):
        return path.removeprefix(PREFIX).replace("/", "-")
    return Path(path).name.partition(".")[0] or path


def _with_texts(records: list[Record], pairs: bool, drop: drops.Drop) -> Iterator[Record]:
    """The records whose texts can be used; the others are handed to `drop`."""
    for record in records:
        for column in ("text_a", "text_b") if pairs else ("text",):
            if column not in record.fields:
                drop(drops.MISSING_COLUMN, record.place, column)
                break
            if not is_usable(record.fields[column], record.place, drop):
                break
        else:
            yield record


def _label(record: Record, kinds: dict[str, str], drop: drops.Drop) -> str | None:
    """The label as a string; None where it was dropped. Raises UserError where its kind differs from earlier ones."""
    value: Any = record.fields.get("label")
    if value is None or (isinstance(value, str) and not value.strip()) or _is_nan(value):
        drop(drops.MISSING_LABEL, record.place, "")
        return None
    if isinstance(value, str) and not is_usable(value, record.place, drop):
        return None
    if isinstance(value, bool):
        kind, text = "a truth value", str(value).lower()
    elif isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        kind, text = "a number", str(int(value))
    elif isinstance(value, str):
        kind, text = "a string", value.strip()
    else:
        raise UserError(
            f"{record.place}: the label {excerpt(value)} is a {type(value).__name__}; a label is a string or a whole "
            "number"
        )
    place = kinds.setdefault(kind, record.place)
    if len(kinds) > 1:
        other, first = next(iter(kinds.items()))
        raise UserError(
            f"{place}: the label {excerpt(value)} is {kind}, but at {first} it is {other}; write all labels the same "
            "way"
        )
    return text


def _score(record: Record, drop: drops.Drop) -> float | None:
    value: Any = record.fields.get("score")
    if value is None or value == "" or _is_nan(value):
        drop(drops.MISSING_SCORE, record.place, "")
        return None
    number = number_of(value)
    if not abs(number) <= LARGEST_SCORE:
        drop(drops.NOT_A_NUMBER, record.place, excerpt(value))
        return None
    return number


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _check_variety(path: str, labeled: Labeled, varied: bool) -> None:
    """Raises UserError where there is nothing to learn: no record, one class or score, almost a class for each text."""
    if not labeled.texts:
        raise UserError(f"{path} holds no labelled record{_because(labeled.report)}")
    counts = Counter(labeled.labels if labeled.scores is None else labeled.scores)
    too_many = len(counts) > MOST_CLASSES or (varied and len(counts) > max(len(labeled) / 2, 10))
    if labeled.scores is None and too_many:
        raise UserError(
            f"{path}: the column label has {len(counts):,} different values in {len(labeled):,} records, such as "
            f"{excerpt(labeled.labels[0])}: classes have several records each, and there are at most {MOST_CLASSES:,}; "
            "is it the right column? Numbers to be predicted stand in a column score"
        )
    if len(counts) == 1 and varied:
        value, count = counts.most_common(1)[0]
        what = "label" if labeled.scores is None else "score"
        raise UserError(f"{path}: all {count:,} records have the {what} {excerpt(value)}; at least two are needed")


def _because(report: DropReport) -> str:
    return f"; dropped: {report.summary()}" if report.total else ""
