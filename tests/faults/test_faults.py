"""A small share of `scripts/verify.sh faults`: disks, signals, two jobs and damages, drawn by hypothesis."""

from __future__ import annotations

import signal
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.faults import cases
from tests.faults.jobs import COMMANDS, starter

NAMES = ("prepare", "predict")  # a folder and a file, the quickest of their kinds
FEW = settings(
    max_examples=4, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
COMMAND = st.sampled_from(NAMES)
MOMENT = st.floats(0, 1)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    sandbox = tmp_path_factory.mktemp("faults")
    with starter(sandbox) as start:
        yield cases.sound_results(sandbox, start, NAMES), start


def judged(started, judge, name, *arguments):
    sound, start = started
    with cases.case_folder(start.sandbox) as folder:
        outcome, words = judge(COMMANDS[name], sound, folder, start, *arguments)
    assert outcome not in cases.FAULTS, f"{name}, {arguments}: {words}"
    return outcome


@pytest.mark.slow
@FEW
@given(name=COMMAND, kilobytes=st.sampled_from([0, 2, 8, 24]))
def test_a_full_disk(started, name, kilobytes):
    judged(started, cases.full_disk, name, kilobytes * 1024)


@pytest.mark.slow
@FEW
@given(name=COMMAND, number=st.sampled_from(cases.SIGNALS), moment=MOMENT)
def test_a_signal_at_any_moment(started, name, number, moment):
    judged(started, cases.stopped, name, number, moment)


@pytest.mark.slow
@FEW
@given(name=COMMAND, moment=MOMENT)
def test_two_jobs(started, name, moment):
    judged(started, cases.two_jobs, name, moment)


@pytest.mark.slow
@FEW
@given(name=COMMAND, damage=st.sampled_from(sorted(cases.DAMAGES)), place=MOMENT)
def test_damaged_inputs(started, name, damage, place):
    files = cases.input_files(COMMANDS[name], started[0])
    judged(started, cases.damaged, name, files[int(place * (len(files) - 1))], damage, Random(0))


def test_the_judges_see_what_is_wrong(started, monkeypatch):
    """A result that is half written, a leftover, a command that goes on after a signal, and a traceback."""
    sound, start = started
    predict = COMMANDS["predict"]
    with cases.case_folder(start.sandbox) as folder:
        (folder / predict.out).write_text("half")
        assert cases.ended(predict, sound, folder, (cases.Outcome.right, ""))[0] == cases.Outcome.wrong
    with cases.case_folder(start.sandbox) as folder:
        (folder / f".{predict.out}.new").write_text("")
        assert cases.ended(predict, sound, folder, (cases.Outcome.right, ""))[0] == cases.Outcome.wrong
    with cases.case_folder(start.sandbox) as folder, monkeypatch.context() as patched:
        patched.setattr(cases, "ENDS_WITHIN", -1.0)
        assert cases.stopped(predict, sound, folder, start, signal.SIGTERM, 0.3)[0] == cases.Outcome.hang
    job = start.run(["predict", "--model", "/nowhere", "--input", "/nowhere", "--out", "x.jsonl"])
    assert cases.refusal(job)[0] == cases.Outcome.refused
    job.words = "Traceback (most recent call last):"
    assert cases.refusal(job)[0] == cases.Outcome.traceback
