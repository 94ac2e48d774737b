"""A small share of `scripts/verify.sh fuzz`, with inputs that hypothesis draws and makes small where one fails."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import readers
from tests.fuzzing.command_lines import CommandLine, judge
from tests.fuzzing.files import csv_rows, jsonl_rows, lines_of
from tests.fuzzing.settings import files
from tests.fuzzing.trial import FAULTS, Hang, Outcome, Trial, Wrong, outcome_of, random_of
from textssl.errors import UserError

MAKERS: dict[str, Callable[[Random, Path], Trial]] = {
    "documents": readers.documents,
    "labelled": readers.labelled,
    "splits": readers.splits,
    "given_pairs": readers.given_pairs,
    "configurations": files(Path("/nosuch")),
}
CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.large_base_example)
sparingly = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=CHECKS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_no_input_is_read_wrongly_or_ends_in_a_traceback(kind):
    @sparingly
    @given(rng=st.randoms(use_true_random=False))
    def each(rng):
        with tempfile.TemporaryDirectory() as folder:
            trial = MAKERS[kind](rng, Path(folder))
            outcome, error = outcome_of(trial)
            assert outcome not in FAULTS, f"{outcome}: {trial.what}\n{error}"

    each()


@pytest.mark.parametrize("kind", MAKERS)
def test_an_input_can_be_made_again(kind, tmp_path):
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        trial = MAKERS[kind](random_of(3, kind, 17), tmp_path / name)
        found.append(trial.what.replace(str(tmp_path / name), ""))
    assert found[0] == found[1]


def raising(error):
    def run():
        raise error

    return run


def test_outcomes():
    def endless():
        while True:
            pass

    ends = {
        Outcome.accepted: Trial("", lambda: None),
        Outcome.refused: Trial("", raising(UserError("wrong"))),
        Outcome.traceback: Trial("", raising(KeyError("x"))),
        Outcome.wrong: Trial("", raising(Wrong("other texts"))),
        Outcome.hang: Trial("", endless),
    }
    assert {expected: outcome_of(trial, seconds=1)[0] for expected, trial in ends.items()} == {one: one for one in ends}
    assert outcome_of(Trial("", raising(UserError("wrong")), clean=True))[0] == Outcome.wrong
    assert outcome_of(Trial("", raising(UserError("x" * 10**5))))[0] == Outcome.wrong
    assert not issubclass(Hang, Exception)


def test_the_oracle_notices_a_reader_that_loses_or_changes_texts(monkeypatch, tmp_path):
    from textssl.data.text import documents

    sound = documents.table_records
    monkeypatch.setattr(documents, "table_records", lambda *a: list(sound(*a))[1:])
    outcomes = set()
    for number in range(40):
        (folder := tmp_path / str(number)).mkdir()
        outcomes.add(outcome_of(readers.documents(random_of(0, "documents", number), folder))[0])
    assert Outcome.wrong in outcomes


def test_independent_readings():
    raw = b'\xef\xbb\xbf{"text": "a"}\r\n\r\n[1]\r\n{"text": "\xff"}\r\n'
    assert jsonl_rows(lines_of(raw) or []) == [{"text": "a"}, None, None]
    assert csv_rows(lines_of(b'text,x\n"a\nb",1\n\nc\n"open') or []) == [
        {"text": "a\nb", "x": "1"},
        {"text": "c"},
        None,
    ]
    assert lines_of("a\rb\r".encode("utf-16")) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("streams", "code", "said", "outcome"),
    [
        ("pipe", 0, "", Outcome.accepted),
        ("pipe", 75, "", Outcome.accepted),
        ("pipe", 2, "error: wrong\n", Outcome.refused),
        ("pipe", 2, "", Outcome.wrong),
        ("pipe", 2, "error: wrong\nerror: wrong\n", Outcome.wrong),
        ("closed error", 2, "", Outcome.refused),
        ("pipe", 1, "error: wrong\n", Outcome.traceback),
        ("head", -13, "", Outcome.refused),
        ("pipe", 0, "Exception ignored in: <stdout>\n", Outcome.traceback),
        ("pipe", 0, "\x1b[31mred", Outcome.wrong),
    ],
)
def test_verdicts_on_command_lines(streams, code, said, outcome):
    assert judge(CommandLine([], {}, streams), code, "", said)[0] == outcome
