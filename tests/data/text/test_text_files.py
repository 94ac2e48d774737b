"""Text files, cut into documents; only the broken ones are dropped."""

from __future__ import annotations

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.text.reading import read, write
from textssl.data.text import drops


def test_paragraphs_are_documents_with_the_line_they_begin_at(tmp_path):
    path = write(tmp_path / "a.txt", "\n\none\nstill one\n \t\n\n\ntwo\r\nstill two\r\n\r\nthree")
    texts, report = read(path)
    assert texts == [("one\nstill one", ":3"), ("two\nstill two", ":8"), ("three", ":11")]
    assert report.as_dict() == {}


def test_a_line_of_any_whitespace_is_blank(tmp_path):
    spaces = [chr(code) for code in range(sys.maxunicode) if chr(code).isspace() and chr(code) not in "\n\r"]
    assert {"\u00a0", "\u3000", "\x1c"} <= {*spaces}
    text = "".join(f"line {place}\n{space} {space}\n" for place, space in enumerate(spaces))
    texts, report = read(write(tmp_path / "a.txt", text))
    assert [text for text, _ in texts] == [f"line {place}" for place in range(len(spaces))]
    assert report.as_dict() == {}
    kept = "\u3000\u3000我们\n\u200b\n\u00a0a"  # no blank line: an indented one, a sign without width
    assert read(write(tmp_path / "b.txt", kept))[0] == [(kept, ":1")]


def test_lines_are_documents(tmp_path):
    texts, report = read(write(tmp_path / "a.txt", "one\n\ntwo\n"), one_document_per="line")
    assert texts == [("one", ":1"), ("two", ":3")]
    assert report.as_dict() == {drops.EMPTY_TEXT: 1}
    assert report.places[drops.EMPTY_TEXT] == [f"{tmp_path / 'a.txt'}:2"]


def test_a_file_is_a_document(tmp_path):
    assert read(write(tmp_path / "a.txt", "one\n\ntwo\n"), one_document_per="file")[0] == [("one\n\ntwo", ":1")]
    texts, report = read(write(tmp_path / "b.txt", "\n \n"), one_document_per="file")
    assert texts == [] and report.as_dict() == {drops.EMPTY_TEXT: 1}


def test_only_the_broken_document_of_a_text_file_is_dropped(tmp_path):
    path = write(tmp_path / "a.txt", b"one\n\ntwo\nbad \xff byte\n\nthree\n\nfo\0ur\n\nfive")
    texts, report = read(path)
    assert texts == [("one", ":1"), ("three", ":6"), ("five", ":10")]
    assert report.places == {drops.INVALID_UTF8: [f"{path}:4"], drops.NUL_BYTE: [f"{path}:8"]}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([b"good\nand more", b"\xff bad", b"nul \0", "gr\u00fcn".encode()]), min_size=1))
def test_text_kept_and_dropped_make_up_the_file(tmp_path_factory, blocks):
    path = tmp_path_factory.mktemp("mix") / "a.txt"
    path.write_bytes(b"\n\n".join(blocks))
    texts, report = read(path)
    good = [block.decode() for block in blocks if b"\xff" not in block and b"\0" not in block]
    assert [text for text, _ in texts] == good
    assert len(texts) + report.total == len(blocks)
