"""The report of what was dropped, as a terminal shows it."""

from __future__ import annotations

import io

from rich.console import Console

from textssl.data.text.drops import INVALID_JSON, DropReport


def test_what_the_data_holds_steers_neither_the_terminal_nor_the_markup():
    report = DropReport()
    report.add(INVALID_JSON, "a[bold].csv:1", "[red]x[/] \\[/y] \x1b[31mz\x9b \ud800")
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, color_system=None).print(report.table())
    shown = out.getvalue()
    assert r"a[bold].csv:1 ([red]x[/] \[/y] \x1b[31mz\x9b \ud800)" in shown
    assert "\x1b[31m" not in shown and "\x9b" not in shown
    shown.encode("utf-8")
