"""Results: refused before the work where they would destroy something, else whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.system.dying import NEW, OLD
from textssl.errors import UserError
from textssl.system import files
from textssl.system.exchange import exchange
from textssl.system.files import (
    check_folder,
    check_output,
    check_place,
    printable,
    refusal,
    write_text,
    written_file,
    written_folder,
)


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond 4 kB: the operating system refuses to write on, as on a full disk.

    It holds for the whole process, so it must be over before pytest writes its next dot into a log file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_an_output_is_never_an_input_whatever_the_path_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    source = tmp_path / "texts" / "a.jsonl"
    source.write_text("{}")
    (tmp_path / "link.jsonl").symlink_to(source)
    os.link(source, tmp_path / "second.jsonl")
    for out in (source, "texts/../texts/a.jsonl", "link.jsonl", "second.jsonl"):
        for inputs in (["texts/a.jsonl"], [tmp_path / "texts"], ["hf://a/b", "sample:news", source]):
            with pytest.raises(UserError, match="is an input itself"):
                check_output(out, inputs)
    assert check_output("texts/b.jsonl", [source]) == Path("texts/b.jsonl")
    assert below(tmp_path) == ["link.jsonl", "second.jsonl", "texts", "texts/a.jsonl"]


def test_what_cannot_be_written_is_said_before_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    before = below(tmp_path)
    refused = {
        tmp_path: "is the folder",
        tmp_path / "file" / "new" / "out.json": "cannot be written: .*file is a file",
        tmp_path / "pipe": "is a pipe",
        Path("/dev/null"): "is a device",
        tmp_path / "new" / ("n" * 300): "cannot be written: File name too long",
        tmp_path / ("n" * 300) / "out.json": "cannot be written: File name too long",
        Path("/proc/out.json"): "cannot be written: ",
    }
    for out, message in refused.items():
        with pytest.raises(UserError, match=message) as caught:
            check_output(out)
        assert "\n" not in str(caught.value)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(UserError, match="cannot be written: File name too long"):
        check_folder(tmp_path / ("n" * 300), (), "mark")
    check_output(tmp_path / "new" / "folder" / "out.json")
    assert below(tmp_path) == before


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_named_with_the_reason(code: int, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), "/somewhere")

    monkeypatch.setattr("textssl.system.files.tempfile.mkdtemp", refuse)
    with pytest.raises(UserError, match=rf"--out .*out.json cannot be written: {os.strerror(code)}$"):
        check_output(tmp_path / "out.json")
    with pytest.raises(UserError, match=rf"^out .* cannot be written: {os.strerror(code)}$"):
        check_place(tmp_path / "run", name="out")


def test_a_folder_with_files_of_others_is_refused(tmp_path):
    own = ("corpus.json", "tokens-*.npy", "held-out/tokens-*.npy")
    out = tmp_path / "out"
    check_folder(out, own, "corpus.json")
    (out / "held-out").mkdir(parents=True)
    check_folder(out, own, "corpus.json")
    (out / "held-out" / "tokens-0.npy").write_text("")
    with pytest.raises(UserError, match=r"holds other files \(held-out/tokens-0.npy\)"):  # no corpus.json
        check_folder(out, own, "corpus.json")
    (out / "corpus.json").write_text("")
    check_folder(out, own, "corpus.json")
    (out / "held-out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"holds other files \(held-out/thesis.txt\)"):
        check_folder(out, own, "corpus.json")
    with pytest.raises(UserError, match="is a file, it must be a folder"):
        check_folder(out / "corpus.json", own, "corpus.json")


def test_a_file_is_there_whole_or_as_before(tmp_path):
    file = tmp_path / "new" / "out.txt"
    write_text(file, "first")
    with pytest.raises(RuntimeError, match="a bug"), written_file(file) as aside:
        aside.write_text("half")
        raise RuntimeError("a bug")
    assert file.read_text() == "first" and below(file.parent) == ["out.txt"]
    (tmp_path / "new" / ".out.txt.new").write_text("of a killed writer")
    write_text(file, f"caf{chr(0xDCE9)}")
    assert file.read_text() == r"caf\udce9" and below(file.parent) == ["out.txt"]


def test_links_are_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "old.txt").write_text("old")
    (tmp_path / "out.txt").symlink_to("disk/old.txt")
    check_output(tmp_path / "out.txt")
    write_text(tmp_path / "out.txt", "new")
    assert (tmp_path / "out.txt").is_symlink() and (tmp_path / "disk" / "old.txt").read_text() == "new"
    (tmp_path / "model").symlink_to("disk")
    with written_folder(tmp_path / "model") as side:
        (side / "weights").write_text("")
    assert (tmp_path / "model").is_symlink() and below(tmp_path / "disk") == ["weights"]


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("old")
    big = np.zeros(10_000)
    with pytest.raises(UserError, match=r"out.txt cannot be written: File too large$"), small_disk():
        write_text(tmp_path / "out.txt", "x" * 10_000)
    with (
        pytest.raises(UserError, match=r"out cannot be written: File too large$"),
        small_disk(),
        written_folder(out) as side,
    ):
        save_file({"big": big}, side / "model.safetensors")
    with pytest.raises(UserError, match=r"out cannot be written: "), small_disk(), written_folder(out) as side:
        np.save(side / "big.npy", big)
    assert below(tmp_path) == ["out", "out/old"]


def test_a_folder_that_is_gone_or_closed_is_one_sentence(tmp_path):
    (tmp_path / "gone").mkdir()
    with pytest.raises(UserError, match=r"out.txt cannot be written: No such file"), written_file(
        tmp_path / "gone" / "out.txt"
    ) as aside:  # fmt: skip
        aside.unlink()
        aside.parent.rmdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: "):
        write_text(tmp_path / "file" / "out.txt", "")


def test_errors_of_other_files_and_bugs_stay_what_they_are(tmp_path):
    for error in (
        PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "input.txt")),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        OSError(errno.EIO, "Input/output error"),
        ValueError("a bug"),
    ):
        assert refusal(error, tmp_path / "out.txt", tmp_path / ".out.txt.new") is None
        with pytest.raises(type(error)), written_file(tmp_path / "out.txt"):
            raise error
    assert below(tmp_path) == []


def test_a_folder_that_does_not_get_into_its_place_leaves_the_old_one(tmp_path, monkeypatch):
    """Where names can be exchanged, and where the old one must be moved aside first."""
    out, old = tmp_path / "model", tmp_path / ".model.replaced"
    out.mkdir()
    (out / "old").write_text("")

    def refuse(path: Path, target: Path) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patched, pytest.raises(UserError, match="No space left"), written_folder(out) as side:
        (side / "new").write_text("")
        patched.setattr(files, "exchange", refuse)
    assert below(tmp_path) == ["model", "model/old"]
    rename = Path.rename

    def refuse_second(path: Path, target: Path) -> Path:
        if path.name == ".model.partial":
            assert below(old) == ["old"]
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return rename(path, target)

    with monkeypatch.context() as patched, pytest.raises(UserError, match="No space left"), written_folder(out) as side:
        (side / "new").write_text("")
        patched.setattr(files, "exchange", lambda *_: False)
        patched.setattr(Path, "rename", refuse_second)
    assert below(tmp_path) == ["model", "model/old"]
    out.rename(old)
    with pytest.raises(RuntimeError), written_folder(out):
        raise RuntimeError
    assert below(tmp_path) == ["model", "model/old"], "it came back"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["exchanging", "renaming"])
def test_a_kill_at_any_moment_leaves_the_old_folder_or_the_new_one_whole(tmp_path, how):
    """Where names cannot be exchanged there is a moment without; a next writer, who fails, brings the old one back."""
    out = tmp_path / "place" / "model"
    out.parent.mkdir()
    command = [sys.executable, "-m", "tests.system.dying", str(out), how]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=True)
    *killed, last = map(json.loads, done.stdout.splitlines())
    assert len(killed) > 15 and all(one["killed"] for one in killed) and not last["killed"]
    assert last["found"] == last["later"] == NEW
    whole = [OLD, NEW] if how == "exchanging" and can_exchange(tmp_path) else [OLD, None, NEW]
    found = [one["found"] for one in killed]
    assert [one for one, _ in itertools.groupby(found)] == whole
    for one in killed:
        assert one["later"] == (one["found"] or OLD) and one["beside"] == []


def can_exchange(folder: Path) -> bool:
    for name in "ab":
        (folder / name).mkdir()
    return exchange(folder / "a", folder / "b")


def test_modes_are_those_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with written_folder(tmp_path / "model") as side:
            (side / "1_Pooling").mkdir()
            save_file({"a": np.zeros(1)}, side / "1_Pooling" / "model.safetensors")
        with written_file(tmp_path / "head.safetensors") as aside:
            save_file({"a": np.zeros(1)}, aside)
    finally:
        os.umask(before)
    for file in (tmp_path / "model" / "1_Pooling" / "model.safetensors", tmp_path / "head.safetensors"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_two_writers_of_a_folder_are_told_and_a_disk_without_locks_is_written(tmp_path, monkeypatch):
    out = tmp_path / "out"
    with written_folder(out), pytest.raises(UserError, match="is in use by process"), written_folder(out):
        pass

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with written_folder(tmp_path / "out") as side:
        (side / "new").write_text("")
    assert below(tmp_path) == ["out", "out/new"]


def test_names_that_are_not_utf_8_can_be_printed():
    assert printable(os.fsdecode(b"caf\xe9.txt")) == r"caf\udce9.txt" and printable("café") == "café"
