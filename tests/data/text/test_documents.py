"""Documents of every format, and what happens to the broken ones."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textssl.data.labelled.labelled_set import read_labeled
from textssl.data.text import drops, streams
from textssl.data.text.documents import DropReport, read_documents
from textssl.errors import UserError

BROKEN = {
    "utf8": drops.INVALID_UTF8,
    "nul": drops.NUL_BYTE,
    "empty": drops.EMPTY_TEXT,
    "column": drops.MISSING_COLUMN,
    "json": drops.INVALID_JSON,
    "array": drops.INVALID_JSON,
    "number": drops.NOT_A_STRING,
    "surrogate": drops.INVALID_UTF8,
}


def read(path: Path | str, **options) -> tuple[list[tuple[str, str]], DropReport]:
    """[(text, line or row)] and the report."""
    report = DropReport()
    documents = list(read_documents([str(path)], report=report, **options))
    return [(document.text, document.source.removeprefix(str(path))) for document in documents], report


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(path: Path, **columns) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


# --- text files


def test_paragraphs_are_documents_with_the_line_they_begin_at(tmp_path):
    path = write(tmp_path / "a.txt", "\n\none\nstill one\n \t\n\n\ntwo\r\nstill two\r\n\r\nthree")
    texts, report = read(path)
    assert texts == [("one\nstill one", ":3"), ("two\nstill two", ":8"), ("three", ":11")]
    assert report.as_dict() == {}


def test_lines_are_documents(tmp_path):
    texts, report = read(write(tmp_path / "a.txt", "one\n\ntwo\n"), one_document_per="line")
    assert texts == [("one", ":1"), ("two", ":3")]
    assert report.as_dict() == {drops.EMPTY_TEXT: 1}
    assert report.places[drops.EMPTY_TEXT] == [f"{tmp_path / 'a.txt'}:2"]


def test_a_file_is_a_document(tmp_path):
    assert read(write(tmp_path / "a.txt", "one\n\ntwo\n"), one_document_per="file")[0] == [("one\n\ntwo", ":1")]
    texts, report = read(write(tmp_path / "b.txt", "\n \n"), one_document_per="file")
    assert texts == [] and report.as_dict() == {drops.EMPTY_TEXT: 1}


def test_other_line_separators_of_unicode_stay_in_the_text(tmp_path):
    text = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g\rh"
    assert read(write(tmp_path / "a.txt", text + "\n\nnext"))[0] == [(text, ":1"), ("next", ":3")]
    line = json.dumps({"text": text}, ensure_ascii=False)
    assert read(write(tmp_path / "a.jsonl", line + "\n" + line))[0] == [(text, ":1"), (text, ":2")]


def test_byte_order_mark_is_no_text(tmp_path):
    assert read(write(tmp_path / "a.txt", "\ufeffone"))[0] == [("one", ":1")]
    assert read(write(tmp_path / "a.jsonl", '\ufeff{"text": "one"}'))[0] == [("one", ":1")]
    assert read(write(tmp_path / "a.csv", "\ufefftext,n\none,1\n"))[0] == [("one", ":2")]


def test_only_the_broken_document_of_a_text_file_is_dropped(tmp_path):
    path = write(tmp_path / "a.txt", b"one\n\ntwo\nbad \xff byte\n\nthree\n\nfo\0ur\n\nfive")
    texts, report = read(path)
    assert texts == [("one", ":1"), ("three", ":6"), ("five", ":10")]
    assert report.places == {drops.INVALID_UTF8: [f"{path}:4"], drops.NUL_BYTE: [f"{path}:8"]}


# --- tables


def test_each_broken_line_of_jsonl_is_dropped_for_its_reason(tmp_path):
    records = [
        b'{"text": "good"}',
        b'{"text": "\xff"}',
        b'{"text": "a\\u0000b"}',
        b'{"text": "a\0b"}',
        b'{"body": "x"}',
        b'{"text": "  "}',
        b'{"text": null}',
        b'{"text": 3}',
        b'{"text": "cut',
        b'["text"]',
        b'{"text": "\\ud800"}',
        b"[" * 100_000,
        b'{"text": "last"}',
    ]
    path = write(tmp_path / "a.jsonl", b"\n".join(records))
    texts, report = read(path)
    assert texts == [("good", ":1"), ("last", ":13")]
    assert report.as_dict() == {
        drops.EMPTY_TEXT: 2,
        drops.INVALID_JSON: 3,
        drops.INVALID_UTF8: 2,
        drops.MISSING_COLUMN: 1,
        drops.NOT_A_STRING: 1,
        drops.NUL_BYTE: 2,
    }
    assert report.places[drops.MISSING_COLUMN] == [f"{path}:5 (text; there are body)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (json.dumps([{"text": "one"}, {"text": "two"}]), "this is a JSON array"),
        (json.dumps([{"text": "one"}, {"text": "two"}], indent=2), "this is a JSON array"),
        ('\n[{"text": "one"},\n{"text": "two"}]\n', "this is a JSON array"),
        (json.dumps({"text": "one"}, indent=1), "this is JSON over several lines"),
        ('{"text": "one",\n "label": 2}', "this is JSON over several lines"),
        ('{"text": "one"},\n{"text": "two"}\n', "this is JSON over several lines"),
    ],
)
def test_json_that_is_not_one_object_a_line_stops(tmp_path, content, message):
    path = write(tmp_path / "a.jsonl", content)
    with pytest.raises(UserError, match=rf"a\.jsonl:[12]: {message}; a \.jsonl file holds one object a line"):
        read(path)


def test_a_first_line_of_jsonl_that_is_only_broken_is_dropped(tmp_path):
    for line in ('{"text": "cut', "[1]", "null", "[" * 3 + "1", "\ufffd"):
        texts, report = read(write(tmp_path / "a.jsonl", line + '\n{"text": "two"}\n'))
        assert texts == [("two", ":2")] and report.as_dict() == {drops.INVALID_JSON: 1}


def test_csv_records_span_lines_and_keep_their_line_numbers(tmp_path):
    content = 'id,text\n1,"one\nstill one, with a ""quote"""\n\n2,two\n3,"three\n\nthree"\n4\n5,\n6,six\n'
    path = write(tmp_path / "a.csv", content)
    texts, report = read(path)
    assert texts == [
        ('one\nstill one, with a "quote"', ":2"),
        ("two", ":5"),
        ("three\n\nthree", ":6"),
        ("six", ":11"),
    ]
    assert report.places[drops.MISSING_COLUMN] == [f"{path}:9 (text; there are id, text)"]
    assert report.places[drops.EMPTY_TEXT] == [f"{path}:10"]


def test_csv_drops_the_broken_record_only(tmp_path):
    path = write(tmp_path / "a.csv", b'text\none\n"two\n\xff"\n"th\0ree"\nfour\n')
    texts, report = read(path)
    assert texts == [("one", ":2"), ("four", ":6")]
    assert report.places == {drops.INVALID_UTF8: [f"{path}:3"], drops.NUL_BYTE: [f"{path}:5"]}


def test_csv_with_a_quote_that_never_closes(tmp_path):
    path = write(tmp_path / "a.csv", 'text\none\n"two\nthree\n')
    texts, report = read(path)
    assert texts == [("one", ":2")]
    assert report.as_dict() == {drops.UNCLOSED_QUOTE: 1}
    assert report.places[drops.UNCLOSED_QUOTE][0].startswith(f"{path}:3")


def test_csv_records_with_a_field_too_many_are_dropped_and_named(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\none,a\nbad, boring,b\n"three, quoted",c\nfour\n')
    texts, report = read(path)
    assert texts == [("one", ":2"), ("three, quoted", ":4"), ("four", ":5")]
    assert report.places == {drops.MORE_FIELDS: [f"{path}:3 (3 instead of 2)"]}
    with pytest.raises(UserError, match=r"a\.csv:3: more fields than the header \(3 instead of 2\)"):
        read(path, strict=True)


@pytest.mark.parametrize("good", [1, 1500])
def test_csv_whose_records_mostly_have_a_field_too_many_stops(tmp_path, good):
    content = "text,label\n" + "bad, boring,b\n" * (2 * good) + "one,a\n" * good
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(UserError, match=r"a\.csv:2: a record of 3 fields under a header of 2.*need quotes"):
        read(path)
    half = write(tmp_path / "b.csv", "text,label\n" + "one,a\nbad, boring,b\n" * good)
    assert read(half)[1].as_dict() == {drops.MORE_FIELDS: good}


def test_two_columns_of_one_name_stop_where_they_are_read(tmp_path):
    names = pyarrow.table([["one"], ["two"], [1], [2]], names=["text", "text", "n", "n"])
    pyarrow.parquet.write_table(names, tmp_path / "a.parquet")
    write(tmp_path / "a.csv", "text,n,text,n\none,1,two,2\n")
    for path in (tmp_path / "a.csv", tmp_path / "a.parquet"):
        with pytest.raises(UserError, match=rf"{path}: 2 columns have the name text"):
            read(path)
        with pytest.raises(UserError, match=rf"{path}: 2 columns have the name n"):
            read(path, text_column="n")
    for path in (
        write(tmp_path / "b.csv", "text,n,n\none,1,2\n"),
        tmp_path / "b.parquet",
    ):
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(names.select([0, 2, 3]), path)
        assert [text for text, _ in read(path)[0]] == ["one"], "other columns are no matter"


def test_csv_fields_may_be_large(tmp_path):
    text = "word " * 200_000  # the csv module stops at 131,072 characters by default
    assert read(write(tmp_path / "a.csv", f'text\n"{text}"\n'))[0] == [(text, ":2")]


def test_text_column_of_every_table(tmp_path):
    for path in (
        write(tmp_path / "a.jsonl", '{"body": "one"}\n'),
        write(tmp_path / "a.csv", "n,body\n1,one\n"),
        parquet(tmp_path / "a.parquet", n=[1], body=["one"]),
    ):
        assert [text for text, _ in read(path, text_column="body")[0]] == ["one"]
        assert read(path)[1].as_dict() == {drops.MISSING_COLUMN: 1}


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.string_view(), "dictionary"])
def test_parquet_of_every_string_type(tmp_path, kind):
    kind = pyarrow.dictionary(pyarrow.int32(), pyarrow.string()) if kind == "dictionary" else kind
    values = ["one", None, " ", "zwei \u00fc", "a\0b"]
    path = parquet(tmp_path / "a.parquet", text=pyarrow.array(values, pyarrow.string()).cast(kind))
    texts, report = read(path)
    assert texts == [("one", "#1"), ("zwei \u00fc", "#4")]
    assert report.as_dict() == {drops.EMPTY_TEXT: 2, drops.NUL_BYTE: 1}


def test_parquet_drops_the_row_that_is_not_utf8(tmp_path):
    raw = pyarrow.array([b"one", b"\xff", b"three"], pyarrow.binary())
    column = pyarrow.Array.from_buffers(pyarrow.string(), 3, raw.buffers())  # a string column nobody validated
    path = parquet(tmp_path / "a.parquet", text=column)
    texts, report = read(path)
    assert texts == [("one", "#1"), ("three", "#3")]
    assert report.places == {drops.INVALID_UTF8: [f"{path}#2"]}


def test_parquet_drops_the_row_whose_value_python_cannot_hold(tmp_path):
    dates = pyarrow.array([2**60, 0], pyarrow.timestamp("us"))  # the first is beyond the year 9999
    path = parquet(tmp_path / "a.parquet", text=["one", "two"], label=dates)
    assert [text for text, _ in read(path)[0]] == ["one", "two"], "a column that is not read is no matter"
    texts, report = read(path, text_column="label")
    assert texts == [] and report.as_dict() == {drops.NOT_A_STRING: 1, drops.OUT_OF_RANGE: 1}
    assert report.places[drops.OUT_OF_RANGE] == [f"{path}#1 (label)"]
    with pytest.raises(UserError, match=r"a\.parquet#2: the label datetime.* is a datetime; a label is a string"):
        read_labeled(path)


def test_parquet_reads_more_rows_than_a_batch(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=[f"text {n}" for n in range(1000)], label=list(range(1000)))
    texts, _ = read(path)
    assert texts == [(f"text {n}", f"#{n + 1}") for n in range(1000)]


def test_parquet_that_is_none_is_counted(tmp_path):
    path = parquet(tmp_path / "a.parquet", text=["one"] * 100)
    path.write_bytes(path.read_bytes()[:-20])
    texts, report = read(path)
    assert texts == [] and report.as_dict() == {drops.DAMAGED: 1}


def test_a_hub_data_set_is_read_by_rows(tmp_path, monkeypatch):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write(tmp_path / "owner" / "name" / "train.jsonl", '{"text": "one"}\n{"text": ""}\n{"text": "three"}\n')
    monkeypatch.chdir(tmp_path)  # datasets takes a folder of that name for the data set
    texts, report = read("hf://owner/name@train")
    assert texts == [("one", "#1"), ("three", "#3")]
    assert report.as_dict() == {drops.EMPTY_TEXT: 1}
    with pytest.raises(UserError, match="hf://owner/name@dev cannot be opened"):
        read("hf://owner/name@dev")


# --- strictness, limits, memory


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


# --- whatever the mix: what is kept and what is dropped make up what was written

SAFE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).filter(str.strip)


def jsonl_line(kind: str, text: str) -> bytes:
    lines = {
        "utf8": b'{"text": "\xc3("}',
        "nul": b'{"text": "a\\u0000"}',
        "empty": b'{"text": "\\n"}',
        "column": b'{"txt": "a"}',
        "json": b'{"text": "a"',
        "array": b"[1]",
        "number": b'{"text": 1.5}',
        "surrogate": b'{"text": "\\udc80"}',
    }
    return lines.get(kind) or json.dumps({"text": text}, ensure_ascii=False).encode()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([*BROKEN, "good"]), SAFE_TEXT), min_size=1), st.booleans())
def test_jsonl_kept_and_dropped_make_up_the_file(tmp_path_factory, records, last_newline):
    path = tmp_path_factory.mktemp("mix") / "a.jsonl"
    path.write_bytes(b"\n".join(jsonl_line(*record) for record in records) + b"\n" * last_newline)
    texts, report = read(path)
    expected = [(text, f":{n}") for n, (kind, text) in enumerate(records, start=1) if kind == "good"]
    assert texts == expected
    assert len(texts) + report.total == len(records)
    for reason, count in report.as_dict().items():
        assert count == sum(BROKEN.get(kind) == reason for kind, _ in records)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["good", "utf8", "nul", "empty", "column"]), SAFE_TEXT), min_size=1))
def test_csv_kept_and_dropped_make_up_the_file(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("mix") / "a.csv"
    rows = [b"id,text\n"]
    for kind, text in records:
        out = io.StringIO(newline="")
        csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(["1", text])
        broken = {"utf8": b'1,"a\n\xff"\n', "nul": b"1,\0\n", "empty": b"1,  \n", "column": b"1\n"}
        rows.append(broken.get(kind) or out.getvalue().encode())
    path.write_bytes(b"".join(rows))
    texts, report = read(path)
    starts = [sum(row.count(b"\n") for row in rows[:n]) + 1 for n in range(1, len(rows))]
    kept = [(text, f":{start}") for (kind, text), start in zip(records, starts, strict=True) if kind == "good"]
    assert texts == kept
    assert len(texts) + report.total == len(records)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([b"good\nand more", b"\xff bad", b"nul \0", "gr\u00fcn".encode()]), min_size=1))
def test_text_kept_and_dropped_make_up_the_file(tmp_path_factory, blocks):
    path = tmp_path_factory.mktemp("mix") / "a.txt"
    path.write_bytes(b"\n\n".join(blocks))
    texts, report = read(path)
    good = [block.decode() for block in blocks if b"\xff" not in block and b"\0" not in block]
    assert [text for text, _ in texts] == good
    assert len(texts) + report.total == len(blocks)
