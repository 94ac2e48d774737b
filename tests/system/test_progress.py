"""No command is silent for long: a line is due whenever nothing was said, and none where something was."""

from __future__ import annotations

import os
import time

import pytest
from rich.console import Console

from textssl.system import progress
from textssl.system.progress import working
from textssl.training.tracking import announce


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.05)


def lines(capfd) -> list[str]:
    return capfd.readouterr().err.splitlines()


def test_a_silent_work_is_spoken_for_by_its_innermost_part(capfd):
    with working("outer"), working("fitting", 40, "texts") as work:
        work.advance(8)
        time.sleep(0.4)
    found = lines(capfd)
    assert len(found) >= 2 and all(line.startswith("fitting: 8 of 40 texts, 0m00s so far") for line in found)
    with working("outer"):
        with working("inner"):
            pass
        time.sleep(0.2)
    assert {line.split(":")[0] for line in lines(capfd)} == {"outer"}


def test_who_says_something_is_not_interrupted(capfd, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.4)
    with working("training", describe=lambda: "never"):
        for number in range(8):
            time.sleep(0.1)
            announce(Console(stderr=True), f"step {number}")
    assert [line[:4] for line in lines(capfd)] == ["step"] * 8


def test_what_it_says_is_asked_for_when_it_is_due(capfd):
    asked = []
    with working("training", describe=lambda: asked.append(1) or f"step {len(asked)}"):
        time.sleep(0.3)
    found = lines(capfd)
    assert len(found) == len(asked) > 1 and found[1].startswith("training: step 2, ")


def test_only_the_first_of_several_processes_speaks(capfd, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with working("training"):
        time.sleep(0.2)
    assert lines(capfd) == []


def test_a_forked_process_is_silent_and_its_parent_goes_on(capfd):
    with working("parent"):
        child = os.fork()
        if child == 0:
            time.sleep(0.2)
            os._exit(int(bool(progress._works) or progress._speaker is not None))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        time.sleep(0.2)
    assert {line.split(":")[0] for line in lines(capfd)} == {"parent"}
    assert progress._speaker is None and not progress._works


def test_an_error_ends_it(capfd):
    with pytest.raises(ValueError), working("broken"):
        raise ValueError
    time.sleep(0.15)
    assert lines(capfd) == [] and progress._speaker is None
