from __future__ import annotations

import json

import pytest

from textssl.errors import UserError
from textssl.evaluation.split import text_hash
from textssl.evaluation.text_pairs import read_text_pairs

RECORDS = [
    {"q": "one", "d": "first"},
    {"q": "two", "d": "second"},
    {"q": "one", "d": "third"},
    {"q": "three", "d": "first"},
    {"q": "one", "d": "first"},
    {"q": "", "d": "fourth"},
    {"q": "four"},
]


@pytest.fixture
def table(tmp_path):
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    return str(tmp_path / "t.jsonl")


def test_distinct_texts_and_what_belongs_together(table):
    texts = read_text_pairs(table, "q", "d")
    assert texts.documents == sorted(["first", "second", "third"], key=text_hash)
    assert sorted(texts.queries) == ["one", "three", "two"]
    found = {(texts.queries[query], texts.documents[document]) for query, document in texts.pairs}
    assert found == {("one", "first"), ("two", "second"), ("one", "third"), ("three", "first")}
    assert len(texts.pairs) == 4 and texts.available == 3
    assert texts.dropped == {"empty text": 1, "missing column": 1}


def test_a_cap_keeps_documents_with_their_queries(table):
    whole, capped = read_text_pairs(table, "q", "d"), read_text_pairs(table, "q", "d", max_documents=2)
    assert capped.documents == whole.documents[:2] and capped.available == 3
    found = {(capped.queries[query], capped.documents[document]) for query, document in capped.pairs}
    assert found == {
        (record["q"], record["d"]) for record in RECORDS if record.get("q") and record.get("d") in capped.documents
    }
    assert set(capped.queries) == {query for query, _ in found}


def test_mistakes(table, tmp_path):
    with pytest.raises(UserError, match=r"t.jsonl.*no column title; there are q, d; name one of them as query"):
        read_text_pairs(table, "title", "d")
    with pytest.raises(UserError, match="no column text; there are q, d; name one of them as document"):
        read_text_pairs(table, "q", "text")
    with pytest.raises(UserError, match=r"1 documents with a query are too few.*empty text: 1"):
        read_text_pairs(table, "q", "d", max_documents=1)
    (tmp_path / "t.txt").write_text("a\n")
    with pytest.raises(UserError, match="has no columns"):
        read_text_pairs(str(tmp_path / "t.txt"), "q", "d")
    (tmp_path / "u.jsonl").write_text('{"q": "a", "d": "b"}\n')
    with pytest.raises(UserError, match="stands for 2 files"):
        read_text_pairs(str(tmp_path / "*.jsonl"), "q", "d")
