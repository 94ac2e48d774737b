"""Lines of JSON, and what happens to the broken ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.text.reading import SAFE_TEXT, read, write
from textssl.data.text import drops
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
