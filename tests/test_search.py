"""The search over options: each choice stands on the best before it, and what was run is not run again."""

from __future__ import annotations

import json

import pytest

from scripts.benchmark import search


@pytest.fixture
def tried(monkeypatch):
    """The options of every run made; longer lists score better until the static start, which fails."""
    made = []

    def run(method, options, inputs, seconds):
        made.append(options)
        return {"error": "no"} if search.LSA in options else {"probe_8": 0.5 + 0.01 * len(options)}

    monkeypatch.setattr(search, "run", run)
    monkeypatch.setattr(search, "make_inputs", lambda folder: None)
    return made


def test_it_goes_on_where_it_was_stopped(tmp_path, tried):
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    search.search("vicreg", tmp_path, whole, 30.0, 600.0, 1000)
    expected = list(tried)
    tried.clear()
    for _ in range(20):
        search.search("vicreg", tmp_path, broken, 30.0, 600.0, 2)
    assert tried == expected and len(expected) == sum(map(len, search.groups("vicreg")))
    assert broken.read_text().count("\n") == len(expected) and json.loads(broken.read_text().splitlines()[2])["error"]
    assert "objective.projector_width=null" in expected[-1] and not any(search.LSA in one for one in expected[3:])


def test_training_is_limited_with_what_was_run_before(tmp_path, tried):
    for _ in range(3):
        search.search("crops", tmp_path, tmp_path / "out.jsonl", 30.0, 60.0, 1000)
    assert len(tried) == 2
    assert "objective.projector_out=null" not in tried[1], "crops has no such option"
