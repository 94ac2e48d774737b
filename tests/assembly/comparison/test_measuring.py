"""Curves, maps and the tasks of a comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.evaluation.folders import topics
from tests.evaluation.tasks.test_classification import write_labelled
from textssl.assembly.comparison.measuring import SHOTS, compared_suite, curves, drawn, map_texts, tfidf_map
from textssl.evaluation.suite import Suite
from textssl.evaluation.tasks.classification import Classification
from textssl.evaluation.tasks.clustering import Clustering


@pytest.fixture
def suite(tmp_path):
    path = write_labelled(tmp_path / "topics.csv", *topics(90, noise=0.2))
    return Suite("own", [Classification("first", path), Classification("second", path), Clustering("groups", path)])


def test_the_first_classification_has_more_numbers_of_labels(suite):
    found = compared_suite(suite)
    assert found.tasks[0].shots == SHOTS and found.tasks[1].shots == (8, 64)
    assert suite.tasks[0].shots == (8, 64)  # the caller's own is left alone


@pytest.mark.slow
def test_maps_repeat_and_keep_neighbours(suite):
    texts, labels = map_texts(suite)
    places = np.array(tfidf_map(suite))
    assert places.shape == (len(texts), 2) == (90, 2) and tfidf_map(suite) == places.tolist()
    distances = ((places[:, None] - places[None]) ** 2).sum(2)
    np.fill_diagonal(distances, np.inf)
    same = np.array(labels)[distances.argmin(1)] == np.array(labels)
    assert same.mean() > 0.7  # by chance a third
    assert drawn(lambda texts: np.ones((len(texts), 3)), Suite("none", suite.tasks[:2])) == []


def test_curves_are_of_known_figures_and_thinned(tmp_path):
    lines = [
        {"step": n, "tokens": 10 * n, "seconds": n / 2, "train/loss": 5.0 - n, "train/lr": 1.0, "features/rankme": None}
        for n in range(1000)
    ]
    lines.append(
        {"step": 999, "tokens": 9990, "seconds": 1.0, "eval/bbc/probe_8": 0.51234, "eval/bbc/probe_8/macro_f1": 0.5}
    )
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = curves(tmp_path)
    assert set(found) == {"train/loss", "eval/bbc/probe_8"} and found["eval/bbc/probe_8"] == [[9990, 1.0, 0.5123]]
    assert len(found["train/loss"]) == 200 and found["train/loss"][1] == [50, 2.5, 0.0]
