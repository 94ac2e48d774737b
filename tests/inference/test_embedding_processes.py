"""`embed --engine ray` with workers that need no Ray: the same bytes, what the nodes are asked for, and devices."""

from __future__ import annotations

import re
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import textssl
from tests.evaluation.folders import save_model
from tests.tiny import texts
from textssl.commands import embed as workflow
from textssl.errors import UserError
from textssl.inference import embedding_processes
from textssl.system import ray_workers


class FakeRay:
    """A cluster of two nodes."""

    def __init__(self, **resources: float) -> None:
        self.resources = {"CPU": 8.0, **resources}

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True}] * 2

    def cluster_resources(self) -> dict[str, float]:
        return self.resources


class Nodes:
    """RayWorkers that answer in this process."""

    made: list[Nodes]

    def __init__(self, ray: Any, what: str, module: str, first: Any, environment: Any, **given: Any) -> None:
        self.first, self.environment, self.given, self.size, self.closed = first, environment, given, 3, False
        prepared, self.answer = embedding_processes.prepare(first)
        self.prepared = [prepared]
        self.made.append(self)

    def submit(self, request: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(self.answer(request))
        return future

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def nodes(monkeypatch) -> list[Nodes]:
    monkeypatch.setattr(Nodes, "made", [], raising=False)
    monkeypatch.setattr(ray_workers, "find_spec", lambda name: name)
    monkeypatch.setattr(embedding_processes, "RayWorkers", Nodes)
    monkeypatch.setattr(embedding_processes.progress, "silence", lambda: None)
    monkeypatch.setattr(workflow, "WINDOW_TEXTS", 16)
    return Nodes.made


def test_a_cluster_writes_the_same_vectors(tmp_path: Path, nodes, monkeypatch, capsys):
    model = save_model(tmp_path / "model", "bert")
    (tmp_path / "texts.txt").write_text("\n\n".join(" ".join(text.split()[:40]) for text in texts()[:50]))
    given = {"input": tmp_path / "texts.txt", "compute": "float32", "threads": 1}
    textssl.embed(model, out=tmp_path / "one.npy", **given)
    asked: list[Any] = []

    def connect(address: str | None, num_cpus: int | None):
        asked.append((address, num_cpus))
        return nullcontext(FakeRay())

    monkeypatch.setattr(workflow, "ray_cluster", connect)
    textssl.embed(model, out=tmp_path / "two.npy", engine="ray", address="auto", **given)
    textssl.embed(model, out=tmp_path / "three.npy", engine="ray", workers=3, **given)
    for name in ("two", "three"):
        for suffix in (".npy", ".ids.jsonl"):
            assert (tmp_path / f"{name}{suffix}").read_bytes() == (tmp_path / f"one{suffix}").read_bytes()
    assert asked == [("auto", None), (None, 3)]
    assert all(one.closed and one.given == {"cpus": 1, "gpus": 0} for one in nodes) and len(nodes) == 2
    assert nodes[0].first["device"] == "cpu" and nodes[0].environment["OMP_NUM_THREADS"] == "1"
    assert "embedding with 2 Ray nodes with 8 CPUs" in capsys.readouterr().err


def test_gpus_of_the_nodes_are_used_where_there_are_any(nodes, monkeypatch):
    assert embedding_processes.node_device(FakeRay()) == "cpu"
    ray = FakeRay(GPU=2.0)
    assert embedding_processes.node_device(ray) == "cuda"
    monkeypatch.setattr(embedding_processes, "prepare", lambda first: ((8, 64), None))
    embedding_processes.embedding_nodes(ray, {"model": "m"}, "cuda", threads=4)
    assert nodes[0].given == {"cpus": 4, "gpus": 1} and nodes[0].first["device"] == "cuda"
    assert ray_workers.cluster_words(ray) == "2 Ray nodes with 8 CPUs and 2 GPUs"


def test_a_node_with_other_versions_is_named(nodes):
    given = {"model": "none", "device": "cpu", "speaks": True}
    for name, number in embedding_processes.versions().items():
        wanted, said = {"versions": {name: f"{number}.1"}}, re.escape(f"has {name} {number}, where the command runs it")
        with pytest.raises(UserError, match=said):
            embedding_processes.prepare({**given, **wanted})


def test_packages_that_are_not_installed_have_no_version(monkeypatch):
    assert {"textssl", "torch", "transformers"} <= set(embedding_processes.versions())
    monkeypatch.setattr(embedding_processes, "PACKAGES", ("torch", "no-such-package"))
    assert list(embedding_processes.versions()) == ["textssl", "torch"]


def test_the_engine_is_checked_before_anything_is_read(tmp_path: Path):
    with pytest.raises(UserError, match="--address is of a Ray cluster"):
        textssl.embed(tmp_path / "none", tmp_path / "none.txt", tmp_path / "v.npy", address="auto")
