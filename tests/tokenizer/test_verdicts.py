"""Verdicts about engines: differences are found once and remembered by tokenizer and version; errors are not."""

import pytest

from textssl.tokenizer.verdicts import Fault, fault


def never() -> str | None:
    raise AssertionError("tried again")


def raising(error: BaseException):
    def fails() -> str | None:
        raise error

    return fails


def test_a_verdict_is_remembered_by_tokenizer_engine_and_purpose(tmp_path):
    assert fault("fast 1", "a", "marks", tmp_path, lambda: None) is None
    assert fault("fast 1", "b", "marks", tmp_path, lambda: "on 'x'") == Fault(True, "on 'x'")
    assert fault("fast 1", "a", "marks", tmp_path, never) is None
    assert fault("fast 1", "b", "marks", tmp_path, never) == Fault(True, "on 'x'")
    for engine, tokenizer, purpose in (("fast 2", "a", "marks"), ("fast 1", "c", "marks"), ("fast 1", "a", "ids")):
        assert fault(engine, tokenizer, purpose, tmp_path, lambda: "tried") == Fault(True, "tried")


def test_each_kind_of_processor_is_tried(tmp_path, monkeypatch):
    """Engines have machine code for each, and a home may be shared."""
    assert fault("fast 1", "a", "marks", tmp_path, lambda: None) is None
    monkeypatch.setattr("platform.machine", lambda: "another")
    assert fault("fast 1", "a", "marks", tmp_path, lambda: "tried") == Fault(True, "tried")


class PanicException(BaseException):
    """As those of Rust extensions: no Exception."""


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (MemoryError(), "MemoryError"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (ValueError("no such normalizer"), "ValueError: no such normalizer"),
        (PanicException("index out of bounds"), "PanicException: index out of bounds"),
    ],
)
def test_an_error_is_said_and_not_remembered(tmp_path, error, detail):
    found = fault("fast 1", "a", "marks", tmp_path, raising(error))
    assert found == Fault(False, detail) and not list(tmp_path.iterdir())
    assert "could not be compared" in str(found) and "this time" in str(found) and detail in str(found)
    assert fault("fast 1", "a", "marks", tmp_path, lambda: None) is None
    assert fault("fast 1", "a", "marks", tmp_path, never) is None


def test_an_interrupt_is_no_error_of_the_engine(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fault("fast 1", "a", "marks", tmp_path, raising(KeyboardInterrupt()))


def test_a_memory_that_cannot_be_read_or_written_costs_time_alone(tmp_path):
    assert fault("fast 1", "a", "marks", tmp_path, lambda: None) is None
    for file in tmp_path.iterdir():
        file.write_text("nonsense")
    assert fault("fast 1", "a", "marks", tmp_path, lambda: "again") == Fault(True, "again")
    (tmp_path / "file").write_text("")
    assert fault("fast 1", "a", "marks", tmp_path / "file", lambda: None) is None
