"""Standard streams that refuse, are closed, or cannot write a character end no command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRINTS = (  # a command that prints much, writes its result afterwards, and reports as the command line does
    "import sys; from pathlib import Path; from textssl.system import standard_streams\n"
    "secured = standard_streams.secure()\n"
    "for number in range(20_000): print('a line \\u00b1 \\u2503', number)\n"
    "assert not (sys.stdout.isatty() or sys.stderr.isatty())\n"
    "print('said', file=sys.stderr)\n"
    "Path('result').write_text('whole')\n"
    "print(standard_streams.refusals(secured), file=open('refusals', 'w'))\n"
)


def shell(command: str, folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}", "bash", sys.executable, *words],
        capture_output=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=60,
    )


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("command", "refusals"),
    [
        ('"$@"', "[]"),
        ('"$@" >/dev/full', "['No space left on device']"),
        ('"$@" 2>/dev/full', "['No space left on device']"),
        ('"$@" >&-', "[]"),
        ('"$@" 2>&-', "[]"),
        ('"$@" <&- >&- 2>&-', "[]"),
        ('"$@" | head -n 1', "[]"),
    ],
)
def test_results_are_written_whatever_becomes_of_what_is_printed(tmp_path, command, refusals, unbuffered):
    finished = shell(command, tmp_path, "-c", PRINTS, PYTHONUNBUFFERED=unbuffered)
    assert finished.returncode == 0
    assert (tmp_path / "result").read_text() == "whole"
    assert (tmp_path / "refusals").read_text().strip() == refusals
    assert finished.stderr.strip() in (b"", b"said")


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_what_an_encoding_cannot_write_is_escaped(tmp_path, environment):
    finished = shell('"$@"', tmp_path, "-c", PRINTS, **environment)
    assert finished.returncode == 0 and finished.stderr.strip() == b"said"
    sign = b"\xb1" if environment.get("PYTHONIOENCODING") == "latin-1" else b"\\xb1"
    assert finished.stdout.splitlines()[0] == b"a line " + sign + b" \\u2503 0"


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path):
    code = (
        "import os; from textssl.system import standard_streams; standard_streams.secure()\n"
        "file = open('lock', 'w'); number = file.fileno(); os.write(1, b'lost'); file.close()\n"
        "open('number', 'w').write(str(number))\n"
    )
    assert shell('"$@" >&-', tmp_path, "-c", code).returncode == 0
    assert int((tmp_path / "number").read_text()) > 2 and (tmp_path / "lock").read_text() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ('"$@" >/dev/full', 2, b"error: standard output cannot be written: No space left on device\n"),
        ('"$@" | head -n 1', 0, b""),
        ('"$@" >&-', 0, b""),
    ],
)
def test_the_command_line_says_in_one_line_that_nothing_arrived(tmp_path, command, code, said):
    finished = shell(command, tmp_path, "-m", "textssl", "--help")
    assert finished.returncode == code and finished.stderr == said


@pytest.mark.slow
def test_a_wrong_command_keeps_its_code_where_no_message_arrives(tmp_path):
    for command in ('"$@" 2>/dev/full', '"$@" 2>&-'):
        assert shell(command, tmp_path, "-m", "textssl", "pretrain", "nosuch.yaml", "--nosuch").returncode == 2
