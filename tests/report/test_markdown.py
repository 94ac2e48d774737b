"""What data may write becomes neither link, HTML, code nor emphasis in a card."""

import re

import pytest
from rich.table import Table
from rich.text import Text

from textssl.report.markdown import block, code, escape, from_rich, table

HOSTILE = "<script>x</script> [a](javascript:b) ![i](j) `c` **d** _e_ \x1b[31m \u202e\n# f | g"


def test_data_is_escaped():
    shown = escape(HOSTILE)
    assert "\n" not in shown and "\x1b" not in shown and "\u202e" not in shown and "<" not in shown
    assert not re.search(r"(?<!\\)[`*\[\]]", shown)
    assert escape("a name_of_it, 3.5 % & more") == "a name_of_it, 3.5 % &amp; more"


@pytest.mark.parametrize("text", ["# x", "- x", "+ x", "1. x", "2) x"])
def test_data_begins_no_heading_or_list(text):
    assert escape(text).startswith("\\") or escape(text)[1] == "\\" or "\\" in escape(text)[:3]


@pytest.mark.parametrize("text", ["plain", "a`b", "``", "a ``` b", "`"])
def test_a_code_span_holds_any_backticks(text):
    found = re.fullmatch(r"(`+) ?(.*?) ?\1", code(text))
    assert found and found[2] == text and len(found[1]) > max(map(len, re.findall("`+", text)), default=0)


def test_a_block_of_code_ends_where_it_should():
    made = block("name: |\n  ```\n  <script>\n", "yaml").splitlines()
    assert made[0] == "````yaml" and made[-1] == "````" and made.count("````") == 1


def test_tables_of_rich_are_escaped_and_stay_bold():
    shown = Table(title=Text(HOSTILE))
    shown.add_column(Text(HOSTILE))
    shown.add_row(Text("[x](y)", style="bold"))
    made = from_rich(shown)
    assert "<script>" not in made and "](j" not in made.replace("\\](j", "") and "| **\\[x\\](y)** |" in made
    assert made.count("\n") == 4  # title, gap, header, rule, row


def test_a_cell_stays_a_cell():
    assert table(["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"
