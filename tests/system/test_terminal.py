"""Data on the terminal: no markup of rich, no names of emoji, no escape sequence."""

import io

import pytest
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from textssl.system.terminal import Terminal

HOSTILE = "[bold]x[/bold] [/nosuch] :smile: \x1b[31mred \u202e"
SHOWN = "[bold]x[/bold] [/nosuch] :smile: \\x1b[31mred \\u202e"


def as_table(text):
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    return table


@pytest.mark.parametrize("make", [str, Text, as_table, Panel], ids=["string", "Text", "Table", "Panel"])
def test_data_is_shown_as_it_is(make):
    for colors in (None, "truecolor"):
        file = io.StringIO()
        Terminal(file=file, width=200, color_system=colors, force_terminal=colors is not None).print(make(HOSTILE))
        assert SHOWN in file.getvalue() and "\x1b[31m" not in file.getvalue() and "\u202e" not in file.getvalue()


def test_styles_and_rules_still_work():
    file = io.StringIO()
    terminal = Terminal(file=file, width=40, force_terminal=True, color_system="standard")
    terminal.print("bold", style="bold")
    terminal.rule(HOSTILE)
    assert "\x1b[1mbold\x1b[0m" in file.getvalue() and "[bold]x" in file.getvalue()
