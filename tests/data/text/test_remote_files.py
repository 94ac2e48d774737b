"""URLs: the documents of the same files on disk, from a web server and from fsspec's folders; and what goes wrong."""

from __future__ import annotations

import csv
import gzip
import http.server
import io
import json
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from textssl.data.text import remote_files
from textssl.data.text.documents import DropReport, expand_inputs, read_documents
from textssl.data.text.inputs import fingerprint
from textssl.data.text.streams import pieces
from textssl.errors import UserError

TEXTS = [f"text {number}, of some length: {'so ' * (number % 40)}" for number in range(3000)]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, whole files only; the first so many responses of `broken` end in the middle."""

    broken = 0

    def log_message(self, *_: object) -> None: ...

    def copyfile(self, source, outputfile) -> None:
        data = source.read()
        if type(self).broken > 0:
            type(self).broken -= 1
            outputfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            outputfile.write(data)


@pytest.fixture
def server(tmp_path: Path, monkeypatch) -> Iterator[str]:
    """The URL of a web server for tmp_path."""
    monkeypatch.setattr(remote_files, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(Handler, "broken", 0)
    handler = partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def write_files(folder: Path) -> list[str]:
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
    (folder / "a.txt").write_text("\n\n".join(TEXTS))
    (folder / "b.jsonl").write_bytes(lines)
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "d.jsonl.zst").write_bytes(zstandard.compress(lines))
    with (folder / "e.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in TEXTS)])
    pyarrow.parquet.write_table(pyarrow.table({"text": TEXTS}), folder / "f.parquet")
    return ["a.txt", "b.jsonl", "c.jsonl.gz", "d.jsonl.zst", "e.csv", "f.parquet"]


def documents(inputs: list[str], report: DropReport | None = None) -> list[tuple[str, str]]:
    return [*read_documents(inputs, report=report or DropReport())]


def test_a_web_server_gives_the_documents_of_its_files(tmp_path: Path, server: str):
    names = write_files(tmp_path)
    local = documents([str(tmp_path / name) for name in names])
    remote = documents([f"{server}/{name}" for name in names])
    assert [text for text, _ in remote] == [text for text, _ in local] == TEXTS * len(names)
    assert [place.replace(server, str(tmp_path)) for _, place in remote] == [place for _, place in local]
    assert [text for text, _ in documents([f"{server}/b.jsonl?token=a.b/c*"])] == TEXTS


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path: Path, server: str):
    write_files(tmp_path)
    for name in ("b.jsonl", "c.jsonl.gz"):
        Handler.broken = 2
        report = DropReport()
        assert [text for text, _ in documents([f"{server}/{name}"], report)] == TEXTS
        assert Handler.broken == 0 and not report.total
    Handler.broken = 9
    report = DropReport()
    with pytest.raises(UserError, match=r"/b\.jsonl cannot be read: "):
        documents([f"{server}/b.jsonl"], report)
    assert not report.total, "the network is no damage of the file"


def test_a_file_that_became_shorter_is_not_taken_for_whole(monkeypatch):
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() == len(self.getbuffer()):
                raise ConnectionError("closed")
            return super().read(size)

    opened = [Breaking(b"one\ntwo\nthr")]

    class Server:
        def open(self, path: str, mode: str, block_size: int) -> io.BytesIO:
            return opened.pop() if opened else io.BytesIO(b"one\n")

    monkeypatch.setattr(remote_files, "WAIT_SECONDS", 0.0)
    monkeypatch.setattr(remote_files, "_file_system", lambda url: (Server(), "a.txt"))
    with pytest.raises(UserError, match=r"/a\.txt cannot be read: it is 7 bytes shorter than what was read"):
        list(pieces("http://host/a.txt"))


def test_what_is_not_there_is_named(tmp_path: Path, server: str, monkeypatch):
    with pytest.raises(UserError, match=r"/none\.jsonl is not there"):
        expand_inputs([f"{server}/none.jsonl"])
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:1/a\.txt is not there, or nobody answers \(.*127"):
        expand_inputs(["http://127.0.0.1:1/a.txt"])
    (tmp_path / "a.dat").write_text("x")
    with pytest.raises(UserError, match=r"the suffix \.dat is unknown"):
        expand_inputs([f"{server}/a.dat"])
    with pytest.raises(UserError, match=r"x3://b/a\.txt: x3:// is not known"):
        expand_inputs(["x3://b/a.txt"])
    for odd in ("http://[bad/a.txt", "http:///a.txt", "HTTP://a b/\ud800.txt", "memory://a/[.txt"):
        with pytest.raises(UserError):
            expand_inputs([odd])
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=r"s3://b/a\.txt: reading s3:// needs a package .*: pip install s3fs"):
        expand_inputs(["s3://b/a.txt"])


def test_folders_and_patterns_of_file_systems_that_list_them(tmp_path: Path):
    files = fsspec.filesystem("memory")
    for name, text in {
        "b/2.txt": "two",
        "b/1.jsonl": '{"text": "one"}\n',
        "b/c/3.txt": "three",
        "b/.hidden/4.txt": "four",
        "b/5.dat": "five",
        "b/6.txt": "",
    }.items():
        files.pipe(f"/{tmp_path.name}/{name}", text.encode())
    root, report = f"memory://{tmp_path.name}/b", DropReport()
    assert [text for text, _ in documents([root], report)] == ["one", "two", "three"]
    assert report.as_dict() == {"empty file": 1, "file of unknown suffix": 1, "hidden file or folder": 1}
    assert [text for text, _ in documents([f"{root}/*.txt"])] == ["two"]
    assert [text for text, _ in documents([f"{root}/**/*.txt"])] == ["two", "three"]
    with pytest.raises(UserError, match="holds no file to read"):
        expand_inputs([f"{root}/*.csv"])
    with pytest.raises(UserError, match=r"6\.txt is empty"):
        expand_inputs([f"{root}/6.txt"])
    before = fingerprint(expand_inputs([root]))
    assert fingerprint(expand_inputs([root])) == before
    files.pipe(f"/{tmp_path.name}/b/2.txt", b"other")
    assert fingerprint(expand_inputs([root])) != before


def test_a_pattern_takes_what_is_below_the_folders_that_it_matches(tmp_path: Path):
    """As a pattern of the disk does: each file once, and each that is left out is counted."""
    files = fsspec.filesystem("memory")
    names = (
        "b/2024.txt",
        "b/2024-01/a.txt",
        "b/2024-01/deep/er/b.txt",
        "b/2024-01/c.dat",
        "b/2023/d.txt",
        "b/2024-02/.e.txt",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
        files.pipe(f"/{tmp_path.name}/{name}", name.encode())
    roots = (str(tmp_path), f"memory://{tmp_path.name}")
    for pattern in ("b/2024*", "b/*", "b/**", "b/2024*/", "b/*/*", "b/2024-01/d*"):
        local, remote = (documents([f"{root}/{pattern}"]) for root in roots)
        assert sorted(text for text, _ in local) == sorted(text for text, _ in remote), pattern
        assert remote
    report = DropReport()
    assert [text for text, _ in documents([f"{roots[1]}/b/2024*"], report)] == [names[1], names[2], names[0]]
    assert report.as_dict() == {"file of unknown suffix": 1, "hidden file or folder": 1}


def test_links_of_a_server_are_followed_and_pipes_refused(monkeypatch):
    """As SFTP lists them: what a link leads to is told only to who asks for it alone."""
    kinds = {"b/a.txt": "file", "b/l.txt": "link", "b/p.txt": "other"}

    class Server:
        def isdir(self, path: str) -> bool:
            return True

        def find(self, path: str, detail: bool) -> dict[str, dict[str, object]]:
            return {name: {"type": kind, "size": 3} for name, kind in kinds.items()}

        def info(self, path: str) -> dict[str, object]:
            return {"type": "file", "size": 5}

        def unstrip_protocol(self, path: str) -> str:
            return f"sftp://{path}"

    monkeypatch.setattr(remote_files, "_file_system", lambda url: (Server(), "b"))
    with pytest.raises(UserError, match=r"sftp://b/p\.txt is not a regular file"):
        expand_inputs(["sftp://b"])
    del kinds["b/p.txt"]
    assert expand_inputs(["sftp://b"]) == ["sftp://b/a.txt", "sftp://b/l.txt"]


def test_a_large_remote_file_is_read_in_pieces(tmp_path: Path, server: str):
    (tmp_path / "a.txt").write_bytes(b"0123456789abcdef\n" * 2**18)
    read = [len(piece) for piece in pieces(f"{server}/a.txt")]
    assert sum(read) == 17 * 2**18 and max(read) <= 2**20
