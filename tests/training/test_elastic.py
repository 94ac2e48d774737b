"""A small share of `scripts/verify.sh elastic`: 4, 2, 1 and 3 processes, one after another, make one run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.once import made_once
from tests.tiny import make_corpus
from tests.training.elastic import FIRST, KEPT, STEPS, UNBROKEN, compare, fingerprint, seen_steps, travel
from textssl.sample_types import Views

CASES = {"moco": {"queue", "teacher"}, "deepcluster": {"clusters", "centroids"}}  # and what they keep, among others


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    def make(folder):
        make_corpus(folder)
        travel(folder, "unbroken", UNBROKEN, tuple(CASES))
        travel(folder, "first", FIRST, tuple(CASES))

    return made_once(tmp_path_factory, "elastic", make)


@pytest.mark.slow
@pytest.mark.parametrize("objective", CASES)
def test_a_run_goes_on_with_other_processes_as_if_it_were_one(folder, objective):
    """Replicated, sharded, alone, replicated: the samples of every step, losses, what the objective keeps."""
    result = compare(folder, objective, "first", "unbroken")
    assert result.different_steps == []
    assert max(result.losses, result.weights, result.optimizer) <= 1e-9
    seen, _ = seen_steps(folder, objective, "unbroken")
    assert sorted(seen) == list(range(STEPS)) and {len(step) for step in seen.values()} == {16}  # two views of eight
    kept = json.loads((folder / f"run-{objective}-unbroken.seen" / KEPT).read_text())
    assert {name.partition(".")[0] for name in kept} >= CASES[objective]
    summary = json.loads((folder / f"run-{objective}-first" / "summary.json").read_text())
    assert summary["resumed_from"] == [leg.stop for leg in FIRST[:-1]]


def test_fingerprints_tell_views_apart():
    ids = np.arange(4)
    assert fingerprint(Views([ids], 3)) == fingerprint(Views([ids.copy()], 3))
    others = Views([ids + 1], 3), Views([ids], 4), Views([ids, ids], 3), Views([ids[:3]], 3), Views([None], 3)
    assert len({fingerprint(view) for view in (Views([ids], 3), *others)}) == 6
