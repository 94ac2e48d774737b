"""Records of each format that a table may have, one at a time, with their places."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from textssl.data.text import drops
from textssl.data.text.csv_files import csv_records
from textssl.data.text.hub import hub_records
from textssl.data.text.inputs import HUB, file_format
from textssl.data.text.records import Record
from textssl.data.text.streams import BrokenFile, lines
from textssl.errors import UserError

LINES_BYTES = 2**18  # of a piece of a .jsonl file, about
MOST_LINES = 4096
_DECODER = json.JSONDecoder()
_OPEN_ENDS = (b"[", b"{", b",", b":")  # of a line of JSON that continues on the next


def table_records(source: str, columns: Sequence[str], drop: drops.Drop) -> Iterator[Record]:
    """The records of a .jsonl, .csv or .parquet file or of a hub data set.

    `fields` holds those of `columns` that the record has, and may hold others. Broken records are handed to `drop`,
    as is a broken end of the file, after which nothing more comes. Raises UserError for a file that is no such table,
    for two columns with one of the names in `columns`, and for a hub data set that cannot be opened.
    """
    kind = file_format(source)
    try:
        if kind == ".jsonl":
            for piece in jsonl_lines(source, drop):
                yield from line_records(piece, drop)
        elif kind == ".csv":
            yield from csv_records(source, columns, drop)
        elif kind == ".parquet":
            from textssl.data.text.parquet_files import parquet_records

            yield from parquet_records(source, columns, drop)
        elif kind == HUB:
            yield from hub_records(source)
        else:
            raise UserError(f"{source} has no columns: a table is a .jsonl, .csv or .parquet file")
    except BrokenFile as broken:
        drop(broken.reason, f"{source}:{broken.line}", broken.detail)


class Lines(NamedTuple):
    """Consecutive lines of a .jsonl file, to be read by `line_records`. first: the number of the first."""

    source: str
    first: int
    lines: list[bytes]


def line_place(source: str, number: int) -> str:
    """Where a line of a file stands, in words."""
    return f"{source}:{number}"


def jsonl_lines(source: str, drop: drops.Drop) -> Iterator[Lines]:
    """The lines of a file in pieces of about LINES_BYTES, in bounded memory.

    Records that are too large and a broken end are handed to `drop` in their place between two pieces. Raises UserError
    for a file that is no .jsonl.
    """
    dropped: list[tuple[str, str, str]] = []  # since the last line
    first, size, piece = 1, 0, list[bytes]()
    checked = False
    try:
        for number, line in lines(source, lambda *one: dropped.append(one)):
            if not checked and line and not line.isspace():
                _check_one_a_line(f"{source}:{number}", line)
                checked = True
            if dropped or size >= LINES_BYTES or len(piece) >= MOST_LINES:
                if piece:
                    yield Lines(source, first, piece)
                first, size, piece = number, 0, []
                _hand_over(dropped, drop)
            piece.append(line)
            size += len(line)
    except BrokenFile as broken:
        dropped.append((broken.reason, f"{source}:{broken.line}", broken.detail))
    if piece:
        yield Lines(source, first, piece)
    _hand_over(dropped, drop)


def _hand_over(dropped: list[tuple[str, str, str]], drop: drops.Drop) -> None:
    for one in dropped:
        drop(*one)
    dropped.clear()


def line_records(piece: Lines, drop: drops.Drop) -> Iterator[Record]:
    """The records of some lines; broken ones are handed to `drop`."""
    for number, line in enumerate(piece.lines, piece.first):
        if not line or line.isspace():
            continue
        place = line_place(piece.source, number)
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


def plain_object(line: bytes) -> dict[str, Any] | None:
    """The object in a line that holds one and nothing else; None for other lines, which may hold one all the same."""
    try:
        text = line.decode("utf-8")
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) and isinstance(value, dict) else None


def _check_one_a_line(place: str, line: bytes) -> None:
    """UserError where the first line begins an array of objects, or an object that spans several lines."""
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
