"""Data as it is shown to the user."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.cli import app as cli
from textssl.errors import UserError, printable


def test_what_can_be_read_stays():
    text = "a\tb\nGr\u00fc\u00dfe \U0001f469\u200d\U0001f680 \u05d0 [bold] \\x1b"
    assert printable(text) == text


@given(st.text(st.characters(categories=["Cc", "Cs", "L"])))
def test_no_control_character_is_left_and_all_can_be_written(text):
    shown = printable(text)
    shown.encode("utf-8")
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown.replace("\n", "").replace("\t", ""))


def test_the_command_line_shows_the_escape_sequences_of_a_message(monkeypatch, capsys):
    def fail(**_):
        raise UserError("the label \x1b]0;title\x07 \ud800 is wrong")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("the label \\x1b]0;title\\x07 \\ud800 is wrong\n")
