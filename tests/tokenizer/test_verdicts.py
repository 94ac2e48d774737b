"""Verdicts about engines: found once, remembered by tokenizer and version; a failure is a difference."""

import pytest

from textssl.tokenizer.verdicts import difference


def never() -> str | None:
    raise AssertionError("tried again")


def test_a_verdict_is_remembered_by_tokenizer_engine_and_purpose(tmp_path):
    assert difference("fast 1", "a", "marks", tmp_path, lambda: None) is None
    assert difference("fast 1", "b", "marks", tmp_path, lambda: "on 'x'") == "on 'x'"
    assert difference("fast 1", "a", "marks", tmp_path, never) is None
    assert difference("fast 1", "b", "marks", tmp_path, never) == "on 'x'"
    for engine, tokenizer, purpose in (("fast 2", "a", "marks"), ("fast 1", "c", "marks"), ("fast 1", "a", "ids")):
        assert difference(engine, tokenizer, purpose, tmp_path, lambda: "tried") == "tried"


def test_an_engine_that_fails_differs(tmp_path):
    def fails() -> str | None:
        raise ValueError("no such normalizer")

    assert difference("fast 1", "a", "marks", tmp_path, fails) == "ValueError: no such normalizer"
    with pytest.raises(KeyboardInterrupt):
        difference("fast 1", "d", "marks", None, lambda: (_ for _ in ()).throw(KeyboardInterrupt()))


def test_a_memory_that_cannot_be_read_or_written_costs_time_alone(tmp_path):
    assert difference("fast 1", "a", "marks", tmp_path, lambda: None) is None
    for file in tmp_path.iterdir():
        file.write_text("nonsense")
    assert difference("fast 1", "a", "marks", tmp_path, lambda: "again") == "again"
    (tmp_path / "file").write_text("")
    assert difference("fast 1", "a", "marks", tmp_path / "file", lambda: None) is None
