"""Columns of a table are told apart by their names."""

from __future__ import annotations

import pyarrow
import pyarrow.parquet
import pytest

from tests.data.text.reading import read, write
from textssl.errors import UserError


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
