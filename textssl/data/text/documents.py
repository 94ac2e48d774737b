"""Documents of files of any size: one stream of texts with their places; what is broken is counted by reason."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from textssl.data.text import drops
from textssl.data.text.drops import DropReport
from textssl.data.text.formats import Lines, jsonl_lines, line_place, line_records, plain_object, table_records
from textssl.data.text.inputs import expand_inputs, file_format
from textssl.data.text.records import Record
from textssl.data.text.text_files import UNITS, text_records
from textssl.errors import UserError, listed

__all__ = ["Document", "DropReport", "expand_inputs", "read_documents"]


class Document(NamedTuple):
    """One text and where it stands: `path:line` of its first line, or `path#row` counted from 1."""

    text: str
    source: str


def read_documents(
    inputs: Sequence[str | Path],
    *,
    text_column: str = "text",
    one_document_per: str = "blank-line",
    strict: bool = False,
    report: DropReport,
) -> Iterator[Document]:
    """The documents of all inputs in a fixed order, read as they are asked for, in bounded memory.

    Inputs are what `expand_inputs` takes. `one_document_per` (blank-line, line or file) is for .txt, `text_column`
    for the other formats. Records that are broken (not UTF-8, a NUL byte, no such column, no text, invalid JSON or
    CSV, cut off by a broken end of the file) are dropped and counted in `report`.

    Raises UserError at once for an unknown unit and where `expand_inputs` does; while reading, where `table_records`
    does and, with `strict`, at the first broken record.
    """
    check_unit(one_document_per)
    sources = expand_inputs(inputs, report)
    drop = report.recorder(strict)
    return (
        document for source in sources for document in source_documents(source, text_column, one_document_per, drop)
    )


def read_beginning(
    inputs: Sequence[str | Path],
    *,
    characters: int,
    text_column: str = "text",
    one_document_per: str = "blank-line",
    report: DropReport,
) -> Iterator[Document | Lines]:
    """The documents of all inputs; after `characters` of text those of .jsonl files are left to be read by others, with
    `line_documents`. Options and errors are those of `read_documents`."""
    check_unit(one_document_per)
    sources = expand_inputs(inputs, report)
    return left_to_others(sources, characters, text_column, one_document_per, report.recorder(False))


def left_to_others(
    sources: Iterable[str], characters: int, column: str, unit: str, drop: drops.Drop
) -> Iterator[Document | Lines]:
    for source in sources:
        if file_format(source) != ".jsonl":
            for document in source_documents(source, column, unit, drop):
                characters -= len(document.text)
                yield document
            continue
        for lines in jsonl_lines(source, drop):
            if characters <= 0:
                yield lines
                continue
            for document in line_documents(lines, column, drop):
                characters -= len(document.text)
                yield document


def check_unit(one_document_per: str) -> None:
    """UserError for an unknown unit of .txt files."""
    if one_document_per not in UNITS:
        raise UserError(f"--one-document-per is {one_document_per!r}, it must be one of {', '.join(UNITS)}")


def source_documents(source: str, column: str, unit: str, drop: drops.Drop) -> Iterator[Document]:
    """The documents of a single source of `expand_inputs`; column, unit: as in read_documents."""
    if file_format(source) == ".txt":
        for place, text in text_records(source, unit, drop):
            if is_usable(text, place, drop):
                yield Document(text, place)
        return
    yield from record_documents(table_records(source, [column], drop), column, drop)


def record_documents(records: Iterable[Record], column: str, drop: drops.Drop) -> Iterator[Document]:
    """The documents in a column of records."""
    for place, fields, columns in records:
        if column not in fields:
            drop(drops.MISSING_COLUMN, place, f"{column}; there are {listed(columns)}")
        elif is_usable(fields[column], place, drop):
            yield Document(fields[column], place)


def line_documents(lines: Lines, column: str, drop: drops.Drop) -> Iterator[Document]:
    """The documents in some lines of a .jsonl file."""
    for text, number in zip(*line_texts(lines, column, drop), strict=True):
        yield Document(text, line_place(lines.source, number))


def line_texts(lines: Lines, column: str, drop: drops.Drop) -> tuple[list[str], list[int]]:
    """The texts of the documents in some lines of a .jsonl file, and the numbers of the lines."""
    texts, numbers = list[str](), list[int]()
    for number, line in enumerate(lines.lines, lines.first):
        text = plain_text(line, column)
        if text is None:
            records = line_records(Lines(lines.source, number, [line]), drop)
            text = next((document.text for document in record_documents(records, column, drop)), None)
        if text is not None:
            texts.append(text)
            numbers.append(number)
    return texts, numbers


def plain_text(line: bytes, column: str) -> str | None:
    """The text of a line that is plainly a good document, as nearly all are; None where every rule has to be asked."""
    fields = plain_object(line)
    text = None if fields is None else fields.get(column)
    if not isinstance(text, str) or not text or text.isspace():
        return None
    escaped = b"\\u" in line  # how JSON writes a NUL byte or a lone surrogate
    return None if escaped and ("\0" in text or has_surrogate(text)) else text


def is_usable(text: object, place: str, drop: drops.Drop) -> bool:
    """Whether a value is text that can be tokenized; if not, it is handed to `drop`."""
    if isinstance(text, str) and text.isascii() and text and not text.isspace() and "\0" not in text:
        return True  # nearly all are: the first to be asked
    if text is None:
        drop(drops.EMPTY_TEXT, place, "null")
    elif not isinstance(text, str):
        drop(drops.NOT_A_STRING, place, type(text).__name__)
    elif not text or text.isspace():
        drop(drops.EMPTY_TEXT, place, "")
    elif "\0" in text:
        drop(drops.NUL_BYTE, place, "")
    elif has_surrogate(text):  # JSON can hold half of a surrogate pair
        drop(drops.INVALID_UTF8, place, "lone surrogate")
    else:
        return True
    return False


def has_surrogate(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which no encoding can write."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
