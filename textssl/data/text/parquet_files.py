"""Records of a .parquet file, one at a time, in bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from textssl.data.text import drops
from textssl.data.text.records import Record, check_distinct
from textssl.data.text.streams import open_source

_BATCH_ROWS = 256  # rows of a parquet file in memory at once
_READ_BYTES = 2**20  # without it pyarrow reads a whole row group
_UNREADABLE = object()  # stands for a value that Python cannot represent


def parquet_records(path: str | Path, columns: Sequence[str], drop: drops.Drop) -> Iterator[Record]:
    row = 0
    try:
        with (
            open_source(path, seekable=True) as raw,
            pyarrow.parquet.ParquetFile(raw, pre_buffer=False, buffer_size=_READ_BYTES) as file,
        ):
            names = file.schema_arrow.names
            check_distinct(str(path), names, columns)
            present = [name for name in columns if name in names]
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=present, use_threads=False):
                values = [_values(batch.column(name)) for name in present]
                for index in range(batch.num_rows):
                    row += 1
                    place = f"{path}#{row}"
                    try:
                        fields = {name: _decoded(column[index]) for name, column in zip(present, values, strict=True)}
                    except UnicodeDecodeError:
                        drop(drops.INVALID_UTF8, place, "")
                        continue
                    unread = next((name for name, value in fields.items() if value is _UNREADABLE), None)
                    if unread is not None:
                        drop(drops.OUT_OF_RANGE, place, unread)
                        continue
                    yield Record(place, fields, names)
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        drop(drops.DAMAGED, f"{path}#{row + 1}", str(error).splitlines()[0])


def _values(column: pyarrow.Array) -> list[Any]:
    """Python values of a column; strings as bytes, since pyarrow would stop at the first that is not UTF-8."""
    if pyarrow.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pyarrow.types.is_string(column.type):
        column = column.cast(pyarrow.binary())
    elif pyarrow.types.is_large_string(column.type):
        column = column.cast(pyarrow.large_binary())
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):  # a date beyond year 9999, a broken string inside a list
        return [_value(scalar) for scalar in column]


def _value(scalar: pyarrow.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return _UNREADABLE


def _decoded(value: Any) -> Any:
    return value.decode("utf-8") if isinstance(value, bytes) else value
