"""Subprocesses: order, what they print, errors of the user and of ours, and processes that die."""

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from textssl.errors import UserError
from textssl.system.subprocesses import Helper, Pool, answer_requests


def serve() -> None:
    """In the subprocess: adds to the number that came first."""

    def prepare(first: int) -> tuple[str, Any]:
        if first < 0:
            raise UserError(f"{first} is negative")

        def answer(request: Any) -> Any:
            print("a library says something")
            if request == "exit":
                os._exit(3)
            if request == "no file":
                return Path("nowhere").read_text()
            if request == "path":
                return os.environ["PYTHONPATH"].split(os.pathsep)[0]
            return first + request, os.environ["GIVEN"]

        return f"ready with {first}", answer

    answer_requests(prepare)


def pool(*firsts: int) -> Pool:
    return Pool([Helper("a test process", __name__, {"GIVEN": "here"}) for _ in firsts], firsts)


def test_requests_are_answered_and_share_the_helpers(capfd):
    with pool(10, 10) as helpers:
        assert helpers.prepared == ["ready with 10"] * 2
        answers = [helpers.submit(number) for number in range(9)]
        assert [answer.result() for answer in answers] == [(10 + number, "here") for number in range(9)]
    assert all(helper.process.returncode is not None for helper in helpers.helpers)
    printed = capfd.readouterr()
    assert printed.out == "" and printed.err.count("a library says something") == 9


def test_the_package_is_found_where_it_is_not_installed():
    with pool(1) as helpers:
        assert (Path(helpers.submit("path").result()) / "textssl" / "__init__.py").is_file()


def test_a_user_who_may_have_no_larger_pipes_has_small_ones(monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with pool(10) as helpers:
        assert helpers.submit(1).result() == (11, "here")


def test_errors_come_back_as_what_they_were():
    with pool(1) as helpers, pytest.raises(UserError, match="nowhere: No such file or directory"):
        helpers.submit("no file").result()
    with pytest.raises(UserError, match="-1 is negative"):
        pool(1, -1)
    with pool(1) as helpers:
        with pytest.raises(RuntimeError, match=r"a test process failed:\n(.|\n)*TypeError"):
            helpers.submit("no number").result()
        assert helpers.submit(1).result() == (2, "here"), "it goes on"
        with pytest.raises(RuntimeError, match=r"a test process ended unexpectedly \(exit code 3\)"):
            helpers.submit("exit").result()
        with pytest.raises(RuntimeError, match="exit code 3"):
            helpers.submit(1).result()
