"""Decompression and lines: what comes before a broken end is kept, and the break is counted."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from textssl.data.text import drops, streams
from textssl.data.text.documents import DropReport, read_documents
from textssl.errors import UserError

COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": lambda raw: bz2.compress(raw, 1),
    ".xz": lambda raw: lzma.compress(raw, preset=0),
    ".zst": zstandard.compress,
}
# enough text, hard to compress, that half of the file still holds whole blocks of every codec
LINES = [json.dumps({"text": f"{n * 7919 % 100_003} and {n * n % 99_991}, number {n}"}) for n in range(20_000)]


def read(path: Path, strict: bool = False) -> tuple[list[str], DropReport]:
    report = DropReport()
    return [document.text for document in read_documents([path], strict=strict, report=report)], report


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_equals_plain(tmp_path, suffix):
    raw = "\n".join(LINES[:2000]).encode()
    (tmp_path / "a.jsonl").write_bytes(raw)
    # two members (or frames) after each other, as `cat a.gz b.gz` makes them
    parts = COMPRESS[suffix](raw[:5000]) + COMPRESS[suffix](raw[5000:])
    (tmp_path / f"a.jsonl{suffix}").write_bytes(parts)
    plain, _ = read(tmp_path / "a.jsonl")
    packed, report = read(tmp_path / f"a.jsonl{suffix}")
    assert packed == plain and len(plain) == 2000 and report.total == 0


@pytest.mark.parametrize("suffix", COMPRESS)
def test_truncated_file_keeps_what_came_before(tmp_path, suffix):
    whole = COMPRESS[suffix]("\n".join(LINES).encode())
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(whole[: len(whole) * 3 // 4])
    texts, report = read(path)
    assert texts == [json.loads(line)["text"] for line in LINES[: len(texts)]]
    assert 5_000 < len(texts) < 20_000
    assert report.as_dict() == {drops.TRUNCATED: 1}
    assert report.places[drops.TRUNCATED] == [f"{path}:{len(texts) + 1}"]
    with pytest.raises(UserError, match=rf"jsonl{suffix}:{len(texts) + 1}: truncated file"):
        read(path, strict=True)


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("name", ["a.txt", "a.csv"])
def test_the_cut_record_of_other_formats_is_not_given_out(tmp_path, suffix, name):
    lines = [f"number {n} {n * 7919 % 100_003} {n * n % 99_991}" for n in range(20_000)]
    content = "\n\n".join(lines) if name == "a.txt" else "text\n" + "\n".join(lines)
    whole = COMPRESS[suffix](content.encode())
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(whole[:-100])
    texts, report = read(path)
    assert texts == lines[: len(texts)] and len(texts) < 20_000
    assert report.as_dict() == {drops.TRUNCATED: 1}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_damaged_file_is_counted(tmp_path, suffix):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(b"this is no compressed file at all")
    texts, report = read(path)
    assert texts == [] and report.as_dict() == {drops.DAMAGED: 1}
    assert report.places[drops.DAMAGED][0].startswith(f"{path}:1 (")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_damage_in_the_middle_is_counted(tmp_path, suffix):
    whole = bytearray(COMPRESS[suffix]("\n".join(LINES).encode()))
    whole[len(whole) // 2] ^= 0xFF
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(whole)
    _, report = read(path)
    assert report.total >= 1


@pytest.mark.parametrize("suffix", [".bz2", ".gz", ".xz"])
def test_damage_at_the_start_of_a_later_stream_is_counted(tmp_path, suffix):
    parts = [bytearray(COMPRESS[suffix](line)) for line in (b"one\n", b"two\n", b"three\n")]
    parts[1][1] ^= 0xFF  # of its magic number
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(b"".join(parts))
    report = DropReport()
    texts = [one.text for one in read_documents([path], one_document_per="line", report=report)]
    assert texts == ["one"] and report.as_dict() == {drops.DAMAGED: 1}
    assert report.places[drops.DAMAGED][0].startswith(f"{path}:2 (")


@pytest.mark.parametrize("suffix", [".bz2", ".gz", ".xz"])
def test_zeros_between_and_after_streams_are_padding(tmp_path, suffix):
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](b"one\n") + bytes(8) + COMPRESS[suffix](b"two\n") + bytes(2**15))
    report = DropReport()
    texts = [one.text for one in read_documents([path], one_document_per="line", report=report)]
    assert texts == ["one", "two"] and report.total == 0


def test_a_missing_disk_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        next(streams.pieces(tmp_path / "a.txt"))


@settings(deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n"])).map(b"".join)).filter(
        lambda content: not content.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))
    ),
    st.integers(1, 20),
)
def test_lines_are_those_of_split(tmp_path_factory, content, piece):
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(content)
    report = DropReport()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_PIECE", piece)
        found = list(streams.lines(path, report.recorder(strict=True)))
    mac = len(re.findall(rb"\r(?!\n|\Z)", content[:piece])) > content[:piece].count(b"\n")
    expected = re.split(rb"\r\n|\r|\n", content) if mac else content.split(b"\n")
    expected = [line.removesuffix(b"\r") for line in (expected if expected[-1] else expected[:-1])]
    expected[:1] = [line.removeprefix(b"\xef\xbb\xbf") for line in expected[:1]]
    assert found == list(enumerate(expected, start=1))


LINED = {
    "a.txt": ("one\nstill one\n\n\nfour", [("one\nstill one", "1"), ("four", "5")]),
    "a.jsonl": ('{"text": "one"}\n\n{"text": "three"}\n', [("one", "1"), ("three", "3")]),
    "a.csv": ('n,text\n1,"two\nthree"\n4,four\n', [("two\nthree", "2"), ("four", "4")]),
}


def placed(path: Path) -> list[tuple[str, str]]:
    """(text, line) of each document of a file of which nothing is dropped."""
    report = DropReport()
    found = [(document.text, document.source.rpartition(":")[2]) for document in read_documents([path], report=report)]
    assert report.total == 0
    return found


def in_pieces_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = streams.pieces
    parts = lambda path: (raw[i : i + size] for raw in whole(path) for i in range(0, len(raw), size))  # noqa: E731
    monkeypatch.setattr(streams, "pieces", parts)
    monkeypatch.setattr(streams, "_PIECE", 30)


@pytest.mark.parametrize("name", LINED)
@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_every_line_end_gives_the_same_texts_and_line_numbers(tmp_path, monkeypatch, name, end):
    content, expected = LINED[name]
    path = tmp_path / name
    path.write_bytes(content.replace("\n", end).encode())
    assert placed(path) == expected
    in_pieces_of(1, monkeypatch)  # which cuts \r\n in two
    assert placed(path) == expected


@pytest.mark.parametrize("name", LINED)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_the_byte_order_mark_names_the_encoding(tmp_path, monkeypatch, name, encoding):
    content, expected = LINED[name]
    path = tmp_path / name
    wide = content.replace("one", "\u00fc\U0001f600").replace("\n", "\r\n")
    path.write_bytes((wide if encoding == "utf-8-sig" else f"\ufeff{wide}").encode(encoding))
    expected = [(text.replace("one", "\u00fc\U0001f600"), line) for text, line in expected]
    assert placed(path) == expected
    in_pieces_of(1, monkeypatch)  # which cuts every character
    assert placed(path) == expected


def test_utf16_that_is_broken_costs_its_record_only(tmp_path):
    path = tmp_path / "a.txt"
    whole = "\ufeffone\n\ntwo \ud83d\n\nthree".encode("utf-16-le", "surrogatepass")
    path.write_bytes(whole)
    texts, report = read(path)
    assert texts == ["one", "three"] and report.places == {drops.INVALID_UTF8: [f"{path}:3"]}
    path.write_bytes(whole[:-1])  # half a character is left of the end
    texts, report = read(path)
    assert texts == ["one"] and report.as_dict() == {drops.INVALID_UTF8: 1, drops.TRUNCATED: 1}


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_old_line_ends_are_read_in_bounded_memory(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes((b"a paragraph of a few words " * 20 + b"\r\r") * 40_000)
    assert peak_bytes(lambda: sum(1 for _ in read_documents([path], report=DropReport()))) < 12_000_000  # of 21.7 MB
    assert len(read(path)[0]) == 40_000


def test_what_decompresses_to_much_is_read_in_bounded_memory(tmp_path):
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.compress(b"\n" * 2**26))
    assert path.stat().st_size < 3_000
    strict = DropReport().recorder(strict=True)
    assert peak_bytes(lambda: next(streams.lines(path, strict))) < 60_000_000  # 1.3 GB when all are held at once


@pytest.mark.slow
def test_a_document_of_empty_lines_takes_no_more_than_its_bytes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a" + b"\n" * 400_000 + b"b")
    documents = read_documents([path], one_document_per="file", report=DropReport())
    assert peak_bytes(lambda: next(documents)) < 20_000_000


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=8), st.integers(1, 12))
def test_lines_over_the_limit_are_dropped_alone(tmp_path_factory, lengths, piece):
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(b"".join(b"x" * length + b"\n" for length in lengths))
    report = DropReport()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_PIECE", piece)
        patch.setattr(streams, "RECORD_LIMIT", 10)
        found = list(streams.lines(path, report.recorder(strict=False)))
    assert found == [(n, b"x" * length) for n, length in enumerate(lengths, start=1) if length <= 10]
    assert report.total == sum(length > 10 for length in lengths)
