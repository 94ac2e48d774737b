"""What stands beside the entries."""

from __future__ import annotations

import io
import json

import pytest

from tests.evaluation.folders import topics
from tests.evaluation.tasks.test_classification import write_labelled
from textssl.assembly.comparison.baselines import baseline_jobs, first_transformer, measured_baselines
from textssl.assembly.comparison.entries import Budget, make_entries
from textssl.assembly.comparison.measuring import References
from textssl.evaluation.suite import Suite
from textssl.evaluation.tasks.clustering import Clustering
from textssl.system.terminal import Terminal


@pytest.fixture
def entries(tmp_path):
    given = ["tokenizer=words", "data.corpus=corpus"]
    return make_entries(["mlm", "crops", "clm"], tmp_path, Budget.parse("10s"), 1, ["nano"], given)[0]


@pytest.mark.slow
def test_the_unsupervised_line_stands_there_without_any_run(entries, tmp_path):
    groups = Clustering("groups", write_labelled(tmp_path / "topics.csv", *topics(90, noise=0.6)))
    jobs = baseline_jobs(
        entries, References(Suite("own", [groups])), tmp_path, Terminal(file=io.StringIO()), scratch=True
    )
    assert list(jobs) == ["tfidf", "lsa_mixture"]  # nothing has ended that labels could train
    for job in jobs.values():
        job.work()
    found = measured_baselines(jobs, [(entry, {}) for entry in entries])
    means = [record["figures"]["groups/v_measure"]["mean"] for record in found.values()]
    assert len(means) == 2 and min(means) > 0.05 and means[0] != means[1]


def test_each_backbone_has_its_random_weights_once(entries):
    records = [(entry, {"random": {"figures": {"a/knn": entry.name}, "map": []}}) for entry in entries]
    found = measured_baselines({}, [(entries[0], {}), *records])
    assert [(record["words"], record["figures"]["a/knn"]) for record in found.values()] == [
        ("random initialisation, modernbert-nano", "mlm"),
        ("random initialisation, llama-nano", "clm"),
    ]


def test_what_a_run_starts_from_stands_beside_it_where_there_is_more_than_random_weights(entries):
    record = {"random": {"figures": {}, "map": []}, "start": {"figures": {"a/knn": 1}, "map": []}}
    found = measured_baselines({}, [(entries[0], record), (entries[1], {})])
    assert {name: record["words"] for name, record in found.items()} == {
        "random_1": "random initialisation, modernbert-nano",
        "start_1": "as it starts, modernbert-nano",
    }


def test_the_row_of_a_backbone_has_the_figures_of_every_objective_on_it(entries):
    figures = {"a/knn": 1}, {"a/knn": 2, "text/bits_per_byte": 3}
    records = [(entries[0], {"start": {"figures": one, "map": []}}) for one in figures]  # an encoder came first
    assert measured_baselines({}, records)["start_1"]["figures"] == {"a/knn": 1, "text/bits_per_byte": 3}


def test_labels_train_the_first_transformer_of_all_whoever_has_ended_first(entries, monkeypatch):
    monkeypatch.setattr("textssl.assembly.comparison.baselines.is_static_folder", lambda model: "crops" in str(model))
    ended: dict[str, str] = {"clm": "figures"}
    for now, expected in (({}, None), ({"mlm": "failed"}, None), ({"crops": "figures"}, "clm")):
        ended |= now
        for entry in entries:
            if entry.name in ended:
                (entry.run / "model").mkdir(parents=True, exist_ok=True)
                entry.record.write_text(json.dumps({ended[entry.name]: {}}))
        found = first_transformer(entries)
        assert (found and found.name) == expected
