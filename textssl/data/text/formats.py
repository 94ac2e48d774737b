"""Records of each format that a table may have, one at a time, with their places."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from textssl.data.text import drops
from textssl.data.text.csv_files import csv_records
from textssl.data.text.hub import hub_records
from textssl.data.text.inputs import HUB, file_format
from textssl.data.text.records import Record
from textssl.data.text.streams import BrokenFile, lines
from textssl.errors import UserError

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
            yield from _jsonl_records(source, drop)
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


def _jsonl_records(source: str, drop: drops.Drop) -> Iterator[Record]:
    first = True
    for number, line in lines(source, drop):
        if not line or line.isspace():
            continue
        place = f"{source}:{number}"
        if first:
            _check_one_a_line(place, line)
            first = False
        if b"\0" in line:
            drop(drops.NUL_BYTE, place, "")
            continue
        try:
            value = _value(line.decode("utf-8"))
        except UnicodeDecodeError:
            drop(drops.INVALID_UTF8, place, "")
        except (ValueError, RecursionError) as error:
            drop(drops.INVALID_JSON, place, str(error))
        else:
            if isinstance(value, dict):
                yield Record(place, value, value.keys())
            else:
                drop(drops.INVALID_JSON, place, "not an object")


def _value(text: str) -> Any:
    """What json.loads makes of a text, but faster where nothing surrounds the value."""
    try:
        value, end = _DECODER.raw_decode(text)
    except ValueError:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


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
