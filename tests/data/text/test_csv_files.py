"""Records of CSV files, and what happens to the broken ones."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.text.reading import SAFE_TEXT, read, write
from textssl.data.text import drops
from textssl.errors import UserError


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


def test_csv_with_a_quote_that_a_later_record_closes(tmp_path):
    path = write(tmp_path / "a.csv", 'text,n\none,1\n"two,2\nthree,3\n"four",4\nfive,5\n')
    texts, report = read(path)
    assert texts == [("one", ":2"), ("five", ":6")]
    assert report.places == {drops.UNCLOSED_QUOTE: [f"{path}:3 (everything up to line 5 is lost)"]}
    path = write(tmp_path / "b.csv", 'text,n\n"one" is,"1\ntwo,2\nthree,"3"\nfour,4\n')  # it had text behind a quote
    texts, report = read(path)
    assert texts == [("four", ":5")]
    assert report.places == {drops.UNCLOSED_QUOTE: [f"{path}:2 (everything up to line 4 is lost)"]}


def test_csv_with_text_behind_a_closing_quote(tmp_path):
    path = write(tmp_path / "a.csv", 'text,n\n"one" or "two",1\n"three"x"\n"four" is,"4\n"\nfive,5\n')
    texts, report = read(path)
    assert texts == [('one or "two"', ":2"), ('threex"', ":3"), ("four is", ":4"), ("five", ":6")]
    assert report.total == 0
    path = write(tmp_path / "b.csv", 'text,n\n"one\nline" ,1\n2,"two\nlines"  \nthree,3\n')
    assert read(path)[0] == [("one\nline", ":2"), ("2", ":4"), ("three", ":6")]
    path = write(tmp_path / "c.csv", 'text,n\n" , one\n""line"" , too" ,1\n')
    assert read(path)[0] == [(' , one\n"line" , too', ":2")], "blanks of a text are its own"


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


def test_csv_fields_may_be_large(tmp_path):
    text = "word " * 200_000  # the csv module stops at 131,072 characters by default
    assert read(write(tmp_path / "a.csv", f'text\n"{text}"\n'))[0] == [(text, ":2")]


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
