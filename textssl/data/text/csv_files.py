"""Records of a .csv file, one at a time, with the line at which each begins."""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from textssl.data.text import drops, streams
from textssl.data.text.records import Record, check_distinct
from textssl.data.text.streams import lines
from textssl.errors import UserError

_KEPT_LINES = 1000  # of a record, to be read again should it be refused
_BLANKS = re.compile(r'("[^"]*(?:""[^"]*)*")(?:[ \t]+(?=,|\n))?')  # a quoted field, and those behind it
_JUDGED_RECORDS = 1000  # after so many records a file is judged by whether most have too many fields


def csv_records(path: str | Path, columns: Sequence[str], drop: drops.Drop) -> Iterator[Record]:
    """Fields separated by commas, quoted with `"`; the first record names the columns. Sets csv's limit for a field."""
    csv.field_size_limit(streams.RECORD_LIMIT)
    feed = _CsvFeed(lines(path, drop))
    reader = csv.reader(feed, strict=True)
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
            row = _rescued(error, feed, f"{path}:{feed.first}", drop)
            if row is None:
                continue
        place = f"{path}:{feed.first}"
        if not row:
            continue  # a blank line
        elif count is None:
            header, count = row, _FieldCount(path, row)
            check_distinct(str(path), header, columns)
            wanted = [(name, header.index(name)) for name in columns if name in header]
        elif feed.broken:
            drop(feed.broken, place, "")
        elif count.fits(row, place, drop):
            yield Record(place, {name: row[index] for name, index in wanted if index < len(row)}, header)
    if count is not None:
        count.judge()


def _rescued(error: csv.Error, feed: "_CsvFeed", place: str, drop: drops.Drop) -> list[str] | None:
    """The fields of a record that the strict reader refused, where they are plain; else it is handed to `drop`.

    Text may follow a closing quote on the first line, as in `"a" b,c`, and blanks may everywhere. Other text behind a
    field of several lines means that its quote was never closed, and that a later record's quote ended it.
    """
    row = None
    with suppress(csv.Error):
        if feed.last == feed.first:
            found = next(csv.reader(itertools.chain(feed.texts, feed)))
            if feed.last > feed.first:  # in the midst of a quoted field
                next(csv.reader(['"' + "".join(feed.texts[1:])], strict=True))
            row = found
        elif feed.whole:
            trimmed = _BLANKS.sub(r"\1", "".join(feed.texts))
            row = next(csv.reader(itertools.chain([trimmed], feed), strict=True))
    if feed.ended:
        drop(drops.UNCLOSED_QUOTE, place, "everything after it is lost")
        return None
    if row is None and feed.last > feed.first and "expected after" in str(error):
        drop(drops.UNCLOSED_QUOTE, place, f"everything up to line {feed.last} is lost")
    elif row is None:
        drop(drops.INVALID_CSV, place, str(error))
    return row


class _CsvFeed:
    """Lines for csv.reader, which notes where a record began and ended, any broken byte, and the first lines of it."""

    def __init__(self, numbered: Iterator[tuple[int, bytes]]) -> None:
        self.numbered = numbered
        self.ended = False
        self.texts: list[str] = []
        self.begin_record()

    def begin_record(self) -> None:
        self.first = self.last = 0
        self.broken = ""
        self.texts.clear()

    @property
    def whole(self) -> bool:
        """Whether `texts` has all lines of the record."""
        return len(self.texts) == self.last - self.first + 1

    def __iter__(self) -> "_CsvFeed":
        return self

    def __next__(self) -> str:
        try:
            number, line = next(self.numbered)
        except StopIteration:
            self.ended = True
            raise
        self.first, self.last = self.first or number, number
        if b"\0" in line:
            self.broken = drops.NUL_BYTE
        try:
            text = line.decode("utf-8") + "\n"
        except UnicodeDecodeError:
            self.broken = drops.INVALID_UTF8
            text = line.decode("utf-8", errors="replace") + "\n"
        if len(self.texts) < _KEPT_LINES:
            self.texts.append(text)
        return text


class _FieldCount:
    """Finds the records of a CSV file with more fields than its header: their text holds unquoted commas.

    The fields of such a record are in the wrong columns, or lose their end.
    """

    def __init__(self, path: str | Path, header: Sequence[str]) -> None:
        self.path, self.names = path, len(header)
        self.records = self.surplus = 0
        self.example = ""

    def fits(self, row: Sequence[str], place: str, drop: drops.Drop) -> bool:
        """Whether a record has no more fields than the header; if it has, it is handed to `drop`."""
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
