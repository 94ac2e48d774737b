"""Types of arguments given from Python: converted where they mean the same, else named before anything is written."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

import textssl
from textssl.errors import UserError
from textssl.system.call_arguments import checked, parameter_types


def example(
    input: Sequence[str | Path] | str | Path,
    query: Sequence[str] = (),
    count: int | None = None,
    share: float = 0.5,
    strict: bool = False,
) -> Any:
    """What it was given."""
    return {"input": input, "query": query, "count": count, "share": share, "strict": strict}


CALL = checked(example, "example")


@pytest.mark.parametrize(
    ("name", "given", "converted"),
    [
        ("input", "a.txt", "a.txt"),
        ("input", Path("a.txt"), Path("a.txt")),
        ("input", PurePosixPath("a.txt"), Path("a.txt")),
        ("input", (name for name in ("a", "b")), ["a", "b"]),
        ("input", np.array(["a", "b"]), ["a", "b"]),
        ("query", "one text", ["one text"]),  # not its letters
        ("count", np.int64(3), 3),
        ("count", None, None),
        ("share", np.float32(0.5), 0.5),
        ("share", 0, 0),
        ("strict", np.bool_(True), True),
    ],
)
def test_what_means_the_same_is_converted(name, given, converted):
    arrived = CALL(**{"input": "x", name: given})[name]
    assert arrived == converted and type(arrived) is type(converted)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("input", None, "input is None, it must be Sequence"),
        ("input", b"a.txt", "input is b'a.txt', it must be"),
        ("input", [3], r"input is \[3\], it must be"),
        ("input", {"a": 1}, "input is {'a': 1}, it must be"),
        ("query", {"a"}, "query is {'a'}, it must be"),
        ("count", 1.5, r"count is 1.5, it must be int \| None"),
        ("count", True, "count is True, it must be"),
        ("share", "0.1", "share is '0.1', it must be float"),
        ("strict", "no", "strict is 'no', it must be bool"),
    ],
)
def test_what_does_not_fit_is_named(name, given, words):
    with pytest.raises(UserError, match=f"textssl.example: {words}"):
        CALL(**{"input": "x", name: given})


def test_missing_and_unknown_arguments_have_python_s_words():
    for arguments, words in (({}, r"example\(\) missing"), ({"input": "a", "foo": 1}, "unexpected keyword")):
        with pytest.raises(TypeError, match=words) as caught:
            CALL(**arguments)
        assert caught.value.__context__ is None


def test_every_command_is_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in textssl.COMMANDS:
        function = getattr(textssl, name)
        assert getattr(textssl, name) is function and pickle.loads(pickle.dumps(function)) is function
        for parameter in parameter_types(function.__wrapped__):
            with pytest.raises(UserError, match=f"textssl.{name}: {parameter} is <object"):
                function(**arguments_of(function.__wrapped__) | {parameter: object()})
    assert not list(tmp_path.iterdir())


def arguments_of(function: Any) -> dict[str, str]:
    """A text for each parameter without a default; all are texts, paths or lists of them."""
    code, defaults = function.__code__, function.__defaults__ or ()
    return dict.fromkeys(code.co_varnames[: code.co_argcount - len(defaults)], "none")
