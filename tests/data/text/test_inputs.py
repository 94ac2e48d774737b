"""Files, folders, globs and references as a list of sources; wrong ones stop at once."""

from __future__ import annotations

import errno
import os

import pytest

from textssl.config import load_config
from textssl.data.corpus.corpus import Corpus
from textssl.data.text import drops
from textssl.data.text.inputs import expand_inputs, file_format, hub_reference
from textssl.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """b.txt, a.jsonl.gz, sub/c.csv, sub/deep/d.parquet beside files that nothing reads."""
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name in (
        "b.txt",
        "a.jsonl.gz",
        "sub/c.csv",
        "sub/deep/d.parquet",
        "README.md",
        "sub/x.bin",
        ".hidden.txt",
        ".git/a.txt",
    ):
        (tmp_path / name).write_text("x")
    (tmp_path / "zero.txt").touch()
    return tmp_path


def test_a_folder_is_its_known_files_in_the_order_of_their_names(folder):
    report = drops.DropReport()
    found = [source.removeprefix(f"{folder}/") for source in expand_inputs([str(folder)], report)]
    assert found == ["a.jsonl.gz", "b.txt", "sub/c.csv", "sub/deep/d.parquet"]
    assert report.as_dict() == {drops.EMPTY_FILE: 1, drops.UNKNOWN_SUFFIX: 2, drops.HIDDEN: 2}
    assert f"{folder}/README.md" in report.places[drops.UNKNOWN_SUFFIX]


def test_globs_are_sorted_and_reach_into_folders(folder):
    report = drops.DropReport()
    assert expand_inputs([f"{folder}/**/*.c*v"], report) == [f"{folder}/sub/c.csv"]
    assert expand_inputs([f"{folder}/s*"], report) == [f"{folder}/sub/c.csv", f"{folder}/sub/deep/d.parquet"]
    with pytest.raises(UserError, match="holds no file"):
        expand_inputs([f"{folder}/*.xml"])


def test_inputs_keep_their_order_and_are_inputs_again(folder):
    inputs = [f"{folder}/b.txt", "hf://owner/name:config@test", str(folder / "sub")]
    sources = expand_inputs(inputs)
    assert sources == [f"{folder}/b.txt", inputs[1], f"{folder}/sub/c.csv", f"{folder}/sub/deep/d.parquet"]
    assert expand_inputs(sources) == sources


def test_a_file_whose_name_looks_like_a_glob(tmp_path):
    (tmp_path / "[1].txt").write_text("one")
    assert expand_inputs([str(tmp_path / "[1].txt")]) == [str(tmp_path / "[1].txt")]


def test_links_are_followed_and_loops_are_not(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far.txt").write_text("x")
    (folder / "link").symlink_to(elsewhere)
    (folder / "sub" / "up").symlink_to(folder)
    found = [source.removeprefix(f"{folder}/") for source in expand_inputs([str(folder)])]
    assert found == ["a.jsonl.gz", "b.txt", "link/far.txt", "sub/c.csv", "sub/deep/d.parquet"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.txt", "there is no file or folder"),
        ("zero.txt", "is empty"),
        ("README.md", "suffix .md is unknown; textssl reads .txt, .jsonl, .csv, .parquet"),
        ("sub/x.bin", "suffix .bin is unknown"),
        ("hollow", "holds no file to read"),
        ("a.tar.gz", "suffix .gz is unknown"),
        ("a.parquet.gz", "plain .parquet"),
        ("dangling.txt", "there is no file"),
    ],
)
def test_a_wrong_input_is_told_at_once(folder, name, message):
    (folder / "hollow").mkdir()
    (folder / "a.tar.gz").write_text("x")
    (folder / "a.parquet.gz").write_text("x")
    (folder / "dangling.txt").symlink_to(folder / "nowhere")
    with pytest.raises(UserError, match=message) as caught:
        expand_inputs([str(folder / "b.txt"), str(folder / name)])
    assert name in str(caught.value)


def test_no_input_at_all():
    with pytest.raises(UserError, match="no input"):
        expand_inputs([])


def test_formats_ignore_case_and_compression():
    assert file_format("A.TXT") == file_format("a.txt.XZ") == ".txt"
    assert file_format("a.b.parquet") == ".parquet"


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("hf://owner/name", ("owner/name", None, "train")),
        ("hf://name", ("name", None, "train")),
        ("hf://owner/name:20231101.als", ("owner/name", "20231101.als", "train")),
        ("hf://owner/name@test[:10%]", ("owner/name", None, "test[:10%]")),
        ("hf://owner/name:config@test", ("owner/name", "config", "test")),
    ],
)
def test_hub_references(reference, parts):
    assert hub_reference(reference) == parts


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_input_is_not_the_current_folder(empty, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="an input is empty"):
        expand_inputs([empty], drops.DropReport())


@pytest.mark.parametrize("reference", ["hf://", "hf://a/b/c", "hf://owner/name@", "hf://owner/na me"])
def test_wrong_hub_references(reference):
    with pytest.raises(UserError, match="not a hub data set"):
        expand_inputs([reference])


def test_samples_without_documents_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("textssl.data.text.inputs.sample_path", lambda _: tmp_path)
    with pytest.raises(UserError, match="holds no documents"):
        expand_inputs(["sample:minilm"])


def test_a_folder_that_cannot_be_listed_is_not_passed_over(folder, monkeypatch):
    (folder / "sub").mkdir(exist_ok=True)
    real = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("sub"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    with pytest.raises(UserError, match=r"the folder .*/sub may not be read: Permission denied"):
        expand_inputs([folder])


@pytest.mark.parametrize("path", ["~nosuchuser/x", "~nosuchuser"])
def test_the_home_of_nobody(path):
    with pytest.raises(UserError, match=rf"^{path}: there is no user of that name.* write \./{path}"):
        expand_inputs([path])


@pytest.mark.parametrize("path", ["x" * 400, "y/" * 2500])
def test_a_path_that_is_too_long_is_not_there(path):
    for read in (lambda: expand_inputs([path]), lambda: Corpus.open(path), lambda: load_config(path)):
        with pytest.raises(UserError, match=r"there is no file|not a prepared corpus|does not exist"):
            read()
