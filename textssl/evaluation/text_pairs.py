"""Texts that belong together, such as titles and bodies: two columns of any table that documents are read from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from textssl.data.text.documents import is_usable
from textssl.data.text.drops import MISSING_COLUMN, DropReport
from textssl.data.text.formats import table_records
from textssl.data.text.inputs import expand_inputs
from textssl.errors import UserError
from textssl.evaluation.split import text_hash


@dataclass(frozen=True)
class TextPairs:
    """Distinct queries, distinct documents (by hash), and which of them stand in one record.

    pairs: (pairs, 2) places of a query and of its document. available: distinct documents before the cap.
    dropped: records that could not be used, by reason.
    """

    queries: list[str]
    documents: list[str]
    pairs: np.ndarray
    available: int
    dropped: dict[str, int]


def read_text_pairs(path: str, query: str, document: str, *, max_documents: int | None = None) -> TextPairs:
    """Read the columns `query` and `document` of one .jsonl, .csv or .parquet file, `sample:NAME` or hub data set.

    max_documents: keeps the documents of lowest hash, and the queries that belong to them.
    Records without one of the texts are dropped and counted. Raises UserError for a missing file or column, and where
    fewer than two documents are left.
    """
    report = DropReport()
    sources = expand_inputs([path], report)
    if len(sources) > 1:
        raise UserError(f"{path} stands for {len(sources)} files, a set of pairs is one file: name it")
    drop = report.recorder(False)
    found: dict[tuple[str, str], None] = {}
    columns: dict[str, None] = {}
    for record in table_records(sources[0], (query, document), drop):
        columns |= dict.fromkeys(record.columns)
        texts = [record.fields.get(query), record.fields.get(document)]
        missing = [column for column in (query, document) if column not in record.fields]
        if missing:
            drop(MISSING_COLUMN, record.place, missing[0])
        elif all(is_usable(text, record.place, drop) for text in texts):
            found.setdefault((str(texts[0]), str(texts[1])))
    for key, column in (("query", query), ("document", document)):
        if columns and column not in columns:
            raise UserError(
                f"{path}: there is no column {column}; there are {', '.join(columns)}; name one of them as {key}"
            )
    documents = sorted({text for _, text in found}, key=text_hash)
    available = len(documents)
    documents = documents[:max_documents]
    if len(documents) < 2:
        because = f"; dropped: {report.summary()}" if report.total else ""
        raise UserError(
            f"{path}: {len(documents)} documents with a query are too few, at least two are needed{because}"
        )
    number = {text: place for place, text in enumerate(documents)}
    kept = sorted((number[text], asked) for asked, text in found if text in number)
    queries = list(dict.fromkeys(asked for _, asked in kept))
    asked_number = {text: place for place, text in enumerate(queries)}
    pairs = np.array([(asked_number[asked], place) for place, asked in kept])
    return TextPairs(queries, documents, pairs, available, report.as_dict())


class PairTask:
    """What tasks on texts that belong together have in common.

    name: the task's. path: a table; query, document: its columns. max_documents: keeps so many, those of lowest hash.
    The table is read when it is first needed.
    """

    kind: str

    def __init__(
        self,
        name: str,
        path: str,
        *,
        query: str = "title",
        document: str = "text",
        max_documents: int | None = None,
        seed: int = 0,
    ) -> None:
        self.name, self.path, self.seed = name, path, seed
        self.query, self.document, self.max_documents = query, document, max_documents

    @cached_property
    def texts(self) -> TextPairs:
        return read_text_pairs(self.path, self.query, self.document, max_documents=self.max_documents)

    def facts(self) -> dict[str, Any]:
        """How many examples stand behind the figures."""
        texts = self.texts
        return {
            "kind": self.kind,
            "source": self.path,
            "columns": [self.query, self.document],
            "queries": len(texts.queries),
            "documents": len(texts.documents),
            "pairs": len(texts.pairs),
            "distinct_documents": texts.available,
            "dropped": texts.dropped,
        }
