"""Markdown out of plain values and out of rich's tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """A Markdown table. words: how many columns hold words; those behind them hold figures and lean to the right."""
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
    return str(shown.plain if isinstance(shown, Text) else shown).replace("\n", "  \n")


def from_rich_table(shown: Table) -> str:
    columns = [[words(text) for text in column.cells] for column in shown.columns]
    header = [words(column.header).replace("\n", " ") for column in shown.columns]
    title = f"### {words(shown.title, plain=True)}\n\n" if shown.title else ""
    return title + table(header, zip(*columns, strict=True))


def words(text: Any, plain: bool = False) -> str:
    """A cell of a rich table. Its first piece is bold where the cell's style is; smaller notes follow it."""
    text = Text.from_markup(text) if isinstance(text, str) else text
    if plain or not text.plain.strip() or "bold" not in str(text.style).replace("not bold", ""):
        return text.plain.strip()
    end = min((span.start for span in text.spans if "not bold" in str(span.style)), default=len(text.plain))
    main, rest = text.plain[:end].strip(), text.plain[end:]
    return f"**{main}**{rest}" if main else rest.strip()
