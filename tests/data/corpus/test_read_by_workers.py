"""What workers read gives the corpus that reading here gives: the same bytes, and the same report of drops."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tests.data.corpus.test_prepare import TEXTS, files
from textssl.commands.prepare import prepare
from textssl.data.corpus.corpus import Corpus
from textssl.data.text.documents import DropReport, line_documents, read_beginning, read_documents, record_documents
from textssl.data.text.formats import Lines, jsonl_lines, line_records
from textssl.errors import UserError
from textssl.tokenizer import save, train_tokenizer

BROKEN = [
    *(
        b'{"text": ""}',
        b'{"text": "a\\u0000b"}',
        b"nonsense",
        b'["text"]',
        b'{"body": "no such column"}',
        b'{"text": 7}',
    ),
    *(b'{"text": "\\ud800"}', b'{"text": "\xff"}', b'{"text": "a\x00b"}', b'{"text": null}', b"", b"   "),
    *(b'{"text": "' + b"x" * 3000 + b'"}', b'{"text": "cut'),
]


def line(text: str) -> bytes:
    return json.dumps({"text": text}, ensure_ascii=False).encode()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    """Files of several kinds with broken records everywhere, and texts that occur again in a later file."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    broken = [BROKEN[place] for place in rng.permutation(len(BROKEN) * 3) % len(BROKEN)]
    mixed = [line(text) for text in TEXTS[:300]]
    for one in broken:
        mixed.insert(int(rng.integers(1, len(mixed))), one)
    (folder / "a.jsonl").write_bytes(b"\n".join(mixed) + b"\n")
    (folder / "b.txt").write_text("\n\n".join([*TEXTS[290:320], "the river\0of stones"]))
    again = gzip.compress(b"\r\n".join([line(text) for text in TEXTS[310:]]))
    (folder / "c.jsonl.gz").write_bytes(again[:-40])  # cut off
    (folder / "d.jsonl").write_bytes(b"\n".join([line(f"{text} again") for text in TEXTS[:100]] + mixed[:50]))
    save(train_tokenizer(TEXTS, algorithm="wordpiece", vocab_size=300, min_frequency=1), folder / "tokenizer")
    return folder


def read_everything(inputs, *, characters: int, **options):
    """In the place of read_beginning."""
    return read_documents(inputs, **options)


def made(inputs: Path, out: Path, monkeypatch, *, piece: int | None, **options) -> Corpus:
    """piece: bytes of lines that a worker gets at once; None: all are read here."""
    sources = [inputs / name for name in ("a.jsonl", "b.txt", "c.jsonl.gz", "d.jsonl")]
    opening = 300  # characters that are read here
    with monkeypatch.context() as patched:
        for place in ("commands.prepare", "data.corpus.engine_choice"):
            patched.setattr(f"textssl.{place}.WORTH_CHARACTERS", opening)
        for place in ("commands.prepare", "data.corpus.pieces"):
            patched.setattr(f"textssl.{place}.GUESS_CHARACTERS", opening)
        patched.setattr("textssl.data.text.streams.RECORD_LIMIT", 2000)
        if piece is None:
            patched.setattr("textssl.commands.prepare.read_beginning", read_everything)
        else:
            patched.setattr("textssl.data.text.formats.LINES_BYTES", piece)
        return prepare(sources, inputs / "tokenizer", out, block_tokens=2000, **options)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"near_duplicates": 0.7}, {"min_characters": 60, "language": "en"}])
def test_the_same_corpus(inputs, tmp_path, monkeypatch, options):
    here = made(inputs, tmp_path / "here", monkeypatch, piece=None, workers=1, **options)
    dropped = here.manifest["dropped"]
    assert dropped["duplicate"] > 20 and dropped["record too large"] == 3 and dropped["truncated file"] == 1
    for workers, piece in ((1, 500), (3, 5000)):
        there = made(inputs, tmp_path / str(workers), monkeypatch, piece=piece, workers=workers, **options)
        assert files(there.path) == files(here.path)


ODD = [
    *(
        b'{"text": "caf\\u00e9"}',
        b'{"text": "\\ud83d\\ude00"}',
        b' {"text": "a"} ',
        b'{"text": "a"}\r',
        b'{"text": "a"} x',
    ),
    *(
        b'{"text": "\\\\u0000"}',
        b'{"text": "a", "text": "b"}',
        b'{"text": "\xe3\x80\x80"}',
        b'{"text": "\xc3\xa9"}',
        b"7",
    ),
    *(b'{"text": "a"}{"text": "b"}', b'{"text": NaN}', b'"text"', b'{"text": ["a"]}', b"[" * 5000, b'{"text": "a\tb"}'),
    *(
        b'\xef\xbb\xbf{"text": "a"}',
        b'{"text": "a"}\0',
        b"\0",
        b"null",
        b'{"a": {"text": "b"}}',
        b'{"text": "b", "a": 1e999}',
    ),
]


def test_the_short_way_reads_as_the_rules_do():
    lines = Lines("x.jsonl", 7, [*BROKEN, *ODD])
    short, whole = DropReport(), DropReport()
    read = list(line_documents(lines, "text", short.recorder(False)))
    assert read == list(record_documents(line_records(lines, whole.recorder(False)), "text", whole.recorder(False)))
    assert short.as_dict() == whole.as_dict() and short.examples() == whole.examples()
    assert len(read) > 8 and short.total > 20


def test_lines_come_after_the_opening(inputs, monkeypatch):
    monkeypatch.setattr("textssl.data.text.formats.LINES_BYTES", 500)
    stream = list(read_beginning([inputs / "a.jsonl", inputs / "b.txt"], characters=10_000, report=DropReport()))
    kinds = [isinstance(one, Lines) for one in stream]
    read = sum(len(one.text) for one in stream[: kinds.index(True)] if not isinstance(one, Lines))
    assert read >= 10_000 and not any(kinds[: kinds.index(True)]) and not kinds[-1]


def test_what_is_dropped_has_its_place_among_the_records(inputs, monkeypatch):
    """As a run with --strict reports the first."""
    monkeypatch.setattr("textssl.data.text.streams.RECORD_LIMIT", 2000)
    places: list[int] = []

    def drop(reason: str, place: str, detail: str) -> None:
        places.append(int(place.rpartition(":")[2]))

    for piece in jsonl_lines(str(inputs / "a.jsonl"), drop):
        for record in line_records(piece, drop):
            places.append(int(record.place.rpartition(":")[2]))
    assert places == sorted(places) and len(places) > 300


def test_a_file_that_is_no_table_is_refused_after_the_opening(inputs, tmp_path):
    (tmp_path / "e.jsonl").write_text('[\n{"text": "a"}\n]')
    stream = read_beginning([inputs / "a.jsonl", tmp_path / "e.jsonl"], characters=300, report=DropReport())
    with pytest.raises(UserError, match=r"e\.jsonl:1: this is a JSON array"):
        list(stream)
