"""Headings, captions and the legend say what the figures stand on."""

from __future__ import annotations

import pytest

from textssl.evaluation.suite import SUITES
from textssl.report.captions import caption, heading, legend, metric_words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("probe_8", "8 a class"),
        ("probe_all", "all 1,000"),
        ("knn", "k-NN"),
        ("finetune_all", "fine-tuned, all 1,000"),
        ("contrast_8", "contrastive, 8 a class"),
    ],
)
def test_headings_say_the_number_of_labels(name, words):
    assert heading(name, {"train_examples": 1000}) == words


def test_metrics_have_their_names():
    assert metric_words("ndcg_10", {}) == "nDCG@10" and metric_words("probe_8", {}) == "8 a class"


def test_a_caption_counts_what_was_used_of_what_there_is():
    pairs = {"kind": "similarity", "pairs": 1500}
    assert caption({**pairs, "available_pairs": 1600}) == "1,500 pairs of 1,600"
    assert caption({**pairs, "available_pairs": 1500}) == "1,500 pairs"
    labelled = {"train_examples": 2000, "test_examples": 9, "distinct_texts": 2009, "classes": ["a", "b"]}
    assert caption(labelled) == "2,000 training and 9 test texts of 2,009, 2 classes"
    assert caption({**labelled, "short_classes": {"b": 4}}).endswith("; classes with fewer: b 4")
    assert caption({**labelled, "dropped": {"empty text": 3}}).endswith("; dropped 3 for empty text")
    cut = {"max_tokens": 128, "truncated_share": 0.25}
    assert caption({**labelled, **cut}).endswith("; 25% of the texts cut at 128 tokens")
    assert caption({**labelled, **cut, "truncated_share": 0.004}) == caption(labelled)


def test_the_legend_explains_the_kinds_that_are_there_and_no_others():
    explained = {
        "classification": "Accuracy:",
        "retrieval": "Compared by cosine",
        "geometry": "RankMe",
        "language": "Bits per byte",
        "minimal_pairs": "Minimal pairs:",
    }
    for kind in explained:
        text = legend({"draws": 10, "data": {"task": {"kind": kind}}})
        assert {other for other, words in explained.items() if words in text} == {kind}
    assert "10 draws" in legend({"draws": 10, "data": {"task": {}}})


def test_the_legend_says_that_the_suites_of_the_package_are_english():
    for name in SUITES:
        assert "quick, full and tuned are English" in legend({"draws": 1, "data": {}, "suite": name})
    assert "English" not in legend({"draws": 1, "data": {}, "suite": "mine.yaml"})
