"""Records out of each file format, one at a time, with the place they stand at."""

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet

from textssl.data.text import drops, streams
from textssl.data.text.hub import not_asking, unreachable
from textssl.data.text.inputs import HUB, file_format, hub_reference
from textssl.data.text.streams import BrokenFile, lines
from textssl.errors import UserError

_NEWLINE = b"\n"
_BATCH_ROWS = 256  # rows of a parquet file in memory at once
_READ_BYTES = 2**20  # without it pyarrow reads a whole row group
_OPEN_ENDS = (b"[", b"{", b",", b":")  # of a line of JSON that goes on in the next
_JUDGED_RECORDS = 1000  # after so many records of a CSV file it is known whether most have too many fields
_UNREADABLE = object()  # a value of a parquet file that Python has none for
UNITS = ("blank-line", "line", "file")


class Record(NamedTuple):
    """One record of a table: where it is, its values, and the columns that its file (or JSON object) has."""

    place: str
    fields: Mapping[str, Any]
    columns: Collection[str]


def text_records(path: Path, unit: str, drop: drops.Drop) -> Iterator[tuple[str, str]]:
    """(place, text) of a .txt file, cut at blank lines, at every line or not at all.

    The place of a document is its first line; that of a broken one is the line with the broken byte.
    """
    for start, raw in _blocks(path, unit, drop):
        nul = raw.find(b"\0")
        if nul >= 0:
            drop(drops.NUL_BYTE, f"{path}:{start + raw.count(_NEWLINE, 0, nul)}", "")
            continue
        try:
            yield f"{path}:{start}", raw.decode("utf-8")
        except UnicodeDecodeError as error:
            drop(drops.INVALID_UTF8, f"{path}:{start + raw.count(_NEWLINE, 0, error.start)}", "")


def table_records(source: str, columns: Sequence[str], drop: drops.Drop) -> Iterator[Record]:
    """The records of a .jsonl, .csv or .parquet file or of a hub data set.

    `fields` holds those of `columns` that the record has, and may hold others. Broken records are handed to `drop`,
    as is a broken end of the file, after which nothing more comes. Raises UserError for a file that is no such table
    and for one with two columns of a name that is among `columns`.
    """
    kind = file_format(source)
    try:
        if kind == ".jsonl":
            yield from _jsonl_records(Path(source), drop)
        elif kind == ".csv":
            yield from _csv_records(Path(source), columns, drop)
        elif kind == ".parquet":
            yield from _parquet_records(Path(source), columns, drop)
        elif kind == HUB:
            yield from _hub_records(source)
        else:
            raise UserError(f"{source} has no columns: a table is a .jsonl, .csv or .parquet file")
    except BrokenFile as broken:
        drop(broken.reason, f"{source}:{broken.line}", broken.detail)


def _blocks(path: Path, unit: str, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    """(first line, bytes) of each document of a text file; the one that a broken end cuts is left out."""
    block = bytearray()  # no list: a line may be empty, and its object takes more than the line
    start = size = 0
    try:
        for number, line in lines(path, drop):
            if unit == "line":
                yield number, line
                continue
            blank = not line.strip()
            if size and blank and unit == "blank-line":
                yield from _whole(path, start, block, size, drop)
                block.clear()
                size = 0
            elif size or not blank:
                start = start if size else number
                size += len(line) + 1
                if size <= streams.RECORD_LIMIT:
                    block += line
                    block += _NEWLINE
    except BrokenFile as broken:
        drop(broken.reason, f"{path}:{broken.line}", broken.detail)
        return
    if size:
        yield from _whole(path, start, block, size, drop)
    elif unit == "file":
        yield 1, b""


def _whole(path: Path, start: int, block: bytearray, size: int, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    if size > streams.RECORD_LIMIT:
        drop(drops.TOO_LARGE, f"{path}:{start}", "")
    else:
        yield start, bytes(block[:-1])  # without the last line end


def _jsonl_records(path: Path, drop: drops.Drop) -> Iterator[Record]:
    first = True
    for number, line in lines(path, drop):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        if first:
            _check_one_a_line(place, line)
            first = False
        if b"\0" in line:
            drop(drops.NUL_BYTE, place, "")
            continue
        try:
            value = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError:
            drop(drops.INVALID_UTF8, place, "")
        except (ValueError, RecursionError) as error:
            drop(drops.INVALID_JSON, place, str(error))
        else:
            if isinstance(value, dict):
                yield Record(place, value, value.keys())
            else:
                drop(drops.INVALID_JSON, place, "not an object")


def _check_one_a_line(place: str, line: bytes) -> None:
    """UserError where the first line begins an array of objects or an object that takes several lines."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        spread = line.rstrip().endswith(_OPEN_ENDS)
    else:
        spread = isinstance(value, list) and any(isinstance(item, dict) for item in value)
    if spread:
        what = "a JSON array" if line.lstrip().startswith(b"[") else "JSON over several lines"
        raise UserError(
            f"{place}: this is {what}; a .jsonl file holds one object a line, with no brackets around them and no "
            "commas between them: jq -c '.[]' makes it from an array, jq -c . from objects over several lines"
        )


class _CsvFeed:
    """Lines for csv.reader, which notes where a record began and whether a broken byte was among its lines."""

    def __init__(self, numbered: Iterator[tuple[int, bytes]]) -> None:
        self.numbered = numbered
        self.ended = False
        self.begin_record()

    def begin_record(self) -> None:
        self.first = 0
        self.broken = ""

    def __iter__(self) -> "_CsvFeed":
        return self

    def __next__(self) -> str:
        try:
            number, line = next(self.numbered)
        except StopIteration:
            self.ended = True
            raise
        self.first = self.first or number
        if b"\0" in line:
            self.broken = drops.NUL_BYTE
        try:
            return line.decode("utf-8") + "\n"
        except UnicodeDecodeError:
            self.broken = drops.INVALID_UTF8
            return line.decode("utf-8", errors="replace") + "\n"


class _FieldCount:
    """Tells the records of a CSV file that have more fields than its header: their text holds commas, unquoted.

    The fields of such a record stand in the wrong columns, or lose their end.
    """

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path, self.names = path, len(header)
        self.records = self.surplus = 0
        self.example = ""

    def fits(self, row: Sequence[str], place: str, drop: drops.Drop) -> bool:
        """Whether a record has no field too many; if it has, it is handed to `drop`."""
        surplus = len(row) > self.names
        self.records += 1
        self.surplus += surplus
        if surplus:
            self.example = self.example or f"{place}: a record of {len(row)} fields"
            drop(drops.MORE_FIELDS, place, f"{len(row)} instead of {self.names}")
        if self.records == _JUDGED_RECORDS:
            self.judge()
        return not surplus

    def judge(self) -> None:
        """Raises UserError where most of the records so far have too many fields: it is the file that is wrong."""
        if 2 * self.surplus > self.records:
            raise UserError(
                f"{self.example} under a header of {self.names}, as are most of this file "
                f"({self.surplus:,} of {self.records:,}): fields with commas need quotes around them"
            )


def _check_distinct(source: str, names: Sequence[str], columns: Sequence[str]) -> None:
    """UserError where two columns have one of the names that are asked for."""
    for name in columns:
        if (count := list(names).count(name)) > 1:
            raise UserError(f"{source}: {count} columns have the name {name}: rename or remove all but one")


def _csv_records(path: Path, columns: Sequence[str], drop: drops.Drop) -> Iterator[Record]:
    """Comma separated, quoted with `"`, the first record names the columns. Sets csv's limit for a field."""
    csv.field_size_limit(streams.RECORD_LIMIT)
    feed = _CsvFeed(lines(path, drop))
    reader = csv.reader(feed)
    header: list[str] = []
    count: _FieldCount | None = None
    wanted: list[tuple[str, int]] = []
    while True:
        feed.begin_record()
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            drop(drops.INVALID_CSV, f"{path}:{feed.first}", str(error))
            continue
        place = f"{path}:{feed.first}"
        if feed.ended:  # only a record that still waits for its closing quote is given out at the end
            drop(drops.UNCLOSED_QUOTE, place, "everything after it is lost")
        elif not row:
            continue  # a blank line
        elif count is None:
            header, count = row, _FieldCount(path, row)
            _check_distinct(str(path), header, columns)
            wanted = [(name, header.index(name)) for name in columns if name in header]
        elif feed.broken:
            drop(feed.broken, place, "")
        elif count.fits(row, place, drop):
            yield Record(place, {name: row[index] for name, index in wanted if index < len(row)}, header)
    if count is not None:
        count.judge()


def _parquet_records(path: Path, columns: Sequence[str], drop: drops.Drop) -> Iterator[Record]:
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=_READ_BYTES) as file:
            names = file.schema_arrow.names
            _check_distinct(str(path), names, columns)
            present = [name for name in columns if name in names]
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=present, use_threads=False):
                values = [_values(batch.column(name)) for name in present]
                for index in range(batch.num_rows):
                    row += 1
                    place = f"{path}#{row}"
                    try:
                        fields = {name: _decoded(column[index]) for name, column in zip(present, values, strict=True)}
                    except UnicodeDecodeError:
                        drop(drops.INVALID_UTF8, place, "")
                        continue
                    unread = next((name for name, value in fields.items() if value is _UNREADABLE), None)
                    if unread is not None:
                        drop(drops.OUT_OF_RANGE, place, unread)
                        continue
                    yield Record(place, fields, names)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        drop(drops.DAMAGED, f"{path}#{row + 1}", str(error).splitlines()[0])


def _values(column: pyarrow.Array) -> list[Any]:
    """Python values of a column; strings as bytes, since pyarrow would stop at the first that is not UTF-8."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pyarrow.types.is_string(column.type):
        column = column.cast(pyarrow.binary())
    elif pyarrow.types.is_large_string(column.type):
        column = column.cast(pyarrow.large_binary())
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # a date beyond year 9999, a broken string inside a list
        return [_value(scalar) for scalar in column]


def _value(scalar: pyarrow.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return _UNREADABLE


def _decoded(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _hub_records(source: str) -> Iterator[Record]:
    name, config, split = hub_reference(source)
    offline = unreachable()
    import datasets  # here, as it takes seconds to import and files do not need it
    from datasets import config as settings

    try:
        with not_asking(settings) if offline else nullcontext():  # what is in the cache can still be read
            rows = datasets.load_dataset(name, config, split=split, streaming=True)
    except Exception as error:  # the hub's client raises many kinds, all of them about the reference or the network
        if offline:
            raise UserError(
                f"{source} cannot be opened: {offline}, and the cache does not hold it; files are named by their path, "
                "such as notes/*.jsonl"
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{source} cannot be opened: {reason}; check the name, the split and the network") from error
    for number, row in enumerate(rows, start=1):
        fields: Mapping[str, Any] = row  # type: ignore[assignment]
        yield Record(f"{source}#{number}", fields, fields.keys())
