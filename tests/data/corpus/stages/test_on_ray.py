"""`prepare --engine ray` with workers that need no Ray: same corpus, going on, starting anew, nothing left behind."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.data.corpus.stages.staged import HereAndNow, files_of, write_files
from tests.tiny import tiny_tokenizer
from textssl import tokenizer
from textssl.commands.prepare import prepare
from textssl.data.corpus.stages import on_ray, tasks
from textssl.errors import UserError
from textssl.system import ray_workers


class FakeRay:
    def nodes(self):
        return [{"Alive": True}, {"Alive": True}, {"Alive": False}]

    def cluster_resources(self):
        return {"CPU": 64.0}


@pytest.fixture
def workers(monkeypatch) -> list[HereAndNow]:
    """The workers of each run; the next one fails after so many tasks as `limits` says."""
    made: list[HereAndNow] = []

    def start(ray, what, module, job, environment):
        made.append(HereAndNow(job, fails_after=LIMITS.pop(0) if LIMITS else None))
        made[-1].close = lambda: None  # type: ignore[attr-defined]
        return made[-1]

    monkeypatch.setattr(ray_workers, "find_spec", lambda name: name)
    monkeypatch.setattr(on_ray, "RayWorkers", start)
    monkeypatch.setattr(on_ray, "ray_cluster", lambda address, num_cpus: nullcontext(FakeRay()))
    return made


LIMITS: list[int] = []


def test_the_command_writes_the_same_corpus_and_goes_on(tmp_path: Path, workers, capsys):
    inputs = write_files(tmp_path)
    tokenizer.save(tiny_tokenizer(), tmp_path / "tokenizer")
    given = {"tokenizer": tmp_path / "tokenizer", "near_duplicates": 0.7, "held_out": 0.1}
    one = prepare(inputs, out=tmp_path / "one", workers=1, **given)
    capsys.readouterr()

    def on_cluster(**changed):
        return prepare(
            inputs, out=tmp_path / "two", engine="ray", address="auto", overwrite=True, **{**given, **changed}
        )

    for limit in (6, 4):
        LIMITS.append(limit)
        with pytest.raises(RuntimeError, match="pulled the plug"):
            on_cluster()
        assert (tmp_path / ".two.stages").is_dir() and not (tmp_path / "two").exists()
    two = on_cluster()
    printed = capsys.readouterr()
    assert files_of(two.path) == files_of(one.path)
    assert "preparing on 2 Ray nodes with 64 CPUs" in printed.err
    assert "4 of them leave CPUs idle" in printed.err
    assert printed.err.count("Going on with what an earlier run has left") == 2
    assert workers[2].stages.count("read") == 0 and workers[0].stages.count("read") == 4
    assert sorted(path.name for path in tmp_path.glob(".*")) == []
    LIMITS.append(3)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        on_cluster()
    with open(inputs[0], "a") as file:
        file.write('{"text": "another document, which was not there before"}\n')
    changed = on_cluster(held_out=0.2)
    assert "had other settings (options, files): starting anew" in " ".join(capsys.readouterr().err.split())
    assert workers[-1].stages.count("read") == 4 and changed.manifest["dropped"] == two.manifest["dropped"]


def test_a_run_that_is_killed_while_it_cleans_up_begins_anew(tmp_path: Path, workers, monkeypatch):
    inputs = write_files(tmp_path)
    tokenizer.save(tiny_tokenizer(), tmp_path / "tokenizer")
    given = (inputs, tmp_path / "tokenizer", tmp_path / "out")
    remove = shutil.rmtree

    def killed(folder, **options):
        if Path(folder).name == ".out.stages" and (tmp_path / "out").exists():
            raise KeyboardInterrupt
        remove(folder, **options)

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare(*given, engine="ray")
    expected = files_of(tmp_path / "out")
    assert (tmp_path / ".out.stages" / "shard").is_dir() and expected
    prepare(*given, engine="ray", overwrite=True)
    assert files_of(tmp_path / "out") == expected and workers[-1].stages.count("read") == 4
    assert not (tmp_path / ".out.stages").exists()


def test_what_other_versions_left_is_given_up(tmp_path: Path, workers, monkeypatch, capsys):
    inputs = write_files(tmp_path)
    tokenizer.save(tiny_tokenizer(), tmp_path / "tokenizer")
    LIMITS.append(5)
    with monkeypatch.context() as patched:
        patched.setattr(tasks, "installed", lambda *packages: dict.fromkeys(packages, "0.0.1"))
        with pytest.raises(RuntimeError, match="pulled the plug"):
            prepare(inputs, tmp_path / "tokenizer", tmp_path / "out", engine="ray")
    prepare(inputs, tmp_path / "tokenizer", tmp_path / "out", engine="ray")
    assert "had other settings (versions): starting anew" in " ".join(capsys.readouterr().err.split())
    assert workers[-1].stages.count("read") == 4


def test_nothing_is_left_where_nothing_was_done(tmp_path: Path, workers):
    tokenizer.save(tiny_tokenizer(), tmp_path / "tokenizer")
    (tmp_path / "empty.jsonl").write_text('{"text": ""}\n')
    before = sorted(tmp_path.iterdir())
    LIMITS.append(0)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        prepare(tmp_path / "empty.jsonl", tmp_path / "tokenizer", tmp_path / "out", engine="ray")
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(UserError, match=r"no document is left to train on in .*empty\.jsonl \(empty text: 1"):
        prepare(tmp_path / "empty.jsonl", tmp_path / "tokenizer", tmp_path / "out", engine="ray")
