"""Documents of every format, and what happens to the broken ones."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from tests.data.text.reading import parquet, read, write
from textssl.data.text import drops, streams
from textssl.data.text.documents import DropReport, read_documents
from textssl.errors import UserError


def test_other_line_separators_of_unicode_stay_in_the_text(tmp_path):
    text = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g\rh"
    assert read(write(tmp_path / "a.txt", text + "\n\nnext"))[0] == [(text, ":1"), ("next", ":3")]
    line = json.dumps({"text": text}, ensure_ascii=False)
    assert read(write(tmp_path / "a.jsonl", line + "\n" + line))[0] == [(text, ":1"), (text, ":2")]


def test_byte_order_mark_is_no_text(tmp_path):
    assert read(write(tmp_path / "a.txt", "\ufeffone"))[0] == [("one", ":1")]
    assert read(write(tmp_path / "a.jsonl", '\ufeff{"text": "one"}'))[0] == [("one", ":1")]
    assert read(write(tmp_path / "a.csv", "\ufefftext,n\none,1\n"))[0] == [("one", ":2")]


def test_text_column_of_every_table(tmp_path):
    for path in (
        write(tmp_path / "a.jsonl", '{"body": "one"}\n'),
        write(tmp_path / "a.csv", "n,body\n1,one\n"),
        parquet(tmp_path / "a.parquet", n=[1], body=["one"]),
    ):
        assert [text for text, _ in read(path, text_column="body")[0]] == ["one"]
        assert read(path)[1].as_dict() == {drops.MISSING_COLUMN: 1}


def test_a_hub_data_set_is_read_by_rows(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write(tmp_path / "owner" / "name" / "train.jsonl", '{"text": "one"}\n{"text": ""}\n{"text": "three"}\n')
    monkeypatch.chdir(tmp_path)  # datasets takes a folder of that name for the data set
    texts, report = read("hf://owner/name@train")
    assert texts == [("one", "#1"), ("three", "#3")]
    assert report.as_dict() == {drops.EMPTY_TEXT: 1}
    with pytest.raises(UserError, match="hf://owner/name@dev cannot be opened"):
        read("hf://owner/name@dev")


def test_strict_stops_at_the_first_broken_record(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\n{"text": 2}\n{"text": ""}\n')
    report = DropReport()
    documents = read_documents([str(path)], strict=True, report=report)
    assert next(documents).text == "one"
    with pytest.raises(UserError, match=r"a\.jsonl:2: text not a string"):
        next(documents)
    assert report.total == 0


def test_wrong_inputs_stop_before_anything_is_read(tmp_path):
    write(tmp_path / "a.txt", "one")
    with pytest.raises(UserError, match="no file or folder"):
        read_documents([str(tmp_path / "a.txt"), str(tmp_path / "b.txt")], report=DropReport())
    with pytest.raises(UserError, match="blank-line, line, file"):
        read_documents([str(tmp_path / "a.txt")], one_document_per="word", report=DropReport())


def test_a_record_over_the_limit_is_dropped_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "RECORD_LIMIT", 100)
    long, two_lines = "x" * 120, "x" * 60 + "\n" + "y" * 60  # the latter of lines that are short enough
    for content, reason in ((long, drops.TOO_LARGE), (two_lines, drops.TOO_LARGE)):
        path = write(tmp_path / "a.txt", f"one\n\n{content}\n\nthree")
        texts, report = read(path)
        assert [text for text, _ in texts] == ["one", "three"]
        assert report.places == {reason: [f"{path}:3"]}
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps({"text": text}) for text in ("one", long, "three")))
    texts, report = read(path)
    assert texts == [("one", ":1"), ("three", ":3")] and report.places == {drops.TOO_LARGE: [f"{path}:2"]}
    path = write(tmp_path / "a.csv", f'text\none\n"{two_lines}"\nfour\n')
    texts, report = read(path)
    assert texts == [("one", ":2"), ("four", ":5")]
    assert report.places == {drops.INVALID_CSV: [f"{path}:3 (field larger than field limit (100))"]}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("w") as file:
        file.writelines("a paragraph of a few words " * 20 + "\n\n" for _ in range(40_000))
    assert path.stat().st_size > 20_000_000
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_documents([str(path)], report=DropReport()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 40_000
    assert peak < 6_000_000  # pieces of 1 MiB, whatever the size of the file
