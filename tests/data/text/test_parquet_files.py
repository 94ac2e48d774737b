"""Rows of Parquet files, and what happens to those that cannot be read."""

from __future__ import annotations

import pyarrow
import pyarrow.parquet
import pytest

from tests.data.text.reading import parquet, read
from textssl.data.labelled.labelled_set import read_labeled
from textssl.data.text import drops
from textssl.errors import UserError


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
