"""Markdown out of plain values and out of rich's tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from textssl.errors import printable

_MARKS = re.compile(r"[\\`*\[\]~]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word means nothing
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: object) -> str:
    """A text of the data as Markdown shows it: no emphasis, link, code or HTML, on one line."""
    line = " ".join(printable(text).split())
    line = re.sub("[&<>]", lambda match: _ENTITIES[match[0]], _MARKS.sub(r"\\\g<0>", line))
    return re.sub(r"^([#+-]|\d+[.)])(?=\s)", r"\\\1", line)


def code(text: str) -> str:
    """A text of the data as a code span, whatever backticks it holds."""
    text = " ".join(printable(text).split())
    marks = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{marks}{space}{text}{space}{marks}"


def block(text: str, language: str) -> str:
    """A text of the data, which ends in a newline, as a code block, whatever backticks it holds."""
    marks = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{marks}{language}\n{printable(text)}{marks}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """A Markdown table. words: the first so many columns hold words; the others hold figures and are right-aligned."""
    lines = [header, ["---" if place < words else "---:" for place, _ in enumerate(header)], *rows]
    first, *others = [[cell(text) for text in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in (first, *others))


def cell(text: str) -> str:
    return " ".join(text.replace("\n", "<br>").replace("|", "\\|").split())


def from_rich(shown: Any) -> str:
    """A rich Table, Text, string or Group of these as Markdown; what is bold stays bold."""
    if isinstance(shown, Group):
        return "\n\n".join(from_rich(part) for part in shown.renderables)
    if isinstance(shown, Table):
        return from_rich_table(shown)
    plain = str(shown.plain if isinstance(shown, Text) else shown)
    return "  \n".join(escape(line) for line in plain.splitlines())


def from_rich_table(shown: Table) -> str:
    columns = [[words(text) for text in column.cells] for column in shown.columns]
    header = [words(column.header).replace("\n", " ") for column in shown.columns]
    heading = shown.title.plain if isinstance(shown.title, Text) else str(shown.title or "")
    title = f"### {escape(heading)}\n\n" if heading else ""
    return title + table(header, zip(*columns, strict=True))


def words(text: Any) -> str:
    """A cell of a rich table. Its first piece is bold where the cell's style is; smaller notes follow it."""
    text = Text(text) if isinstance(text, str) else text
    if not text.plain.strip() or "bold" not in str(text.style).replace("not bold", ""):
        return lines(text.plain)
    end = min((span.start for span in text.spans if "not bold" in str(span.style)), default=len(text.plain))
    main, rest = escape(text.plain[:end]), text.plain[end:]
    space = " " if rest[:1] == " " else ""
    return f"**{main}**{space}{lines(rest, strip=False)}" if main else lines(rest)


def lines(text: str, strip: bool = True) -> str:
    """A text of one or more lines, each escaped."""
    return "\n".join(escape(line) for line in (text.strip() if strip else text).split("\n"))
