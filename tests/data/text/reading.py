"""Files to read in a test, and what comes out of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow
import pyarrow.parquet
from hypothesis import strategies as st

from textssl.data.text.documents import DropReport, read_documents

SAFE_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1).filter(str.strip)


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
