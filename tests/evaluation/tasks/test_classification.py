from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.folders import topics
from textssl.errors import UserError
from textssl.evaluation.baselines import Tfidf
from textssl.evaluation.split import few_label_draws
from textssl.evaluation.suite import load_suite
from textssl.evaluation.tasks.classification import Classification
from textssl.report.captions import caption


def write_labelled(path: Path, texts: list[str], labels: list[str]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(zip(texts, labels, strict=True))
    return str(path)


@pytest.mark.slow
def test_figures_of_word_counts_beat_the_majority(tmp_path):
    task = Classification("topics", write_labelled(tmp_path / "topics.csv", *topics(300)), draws=4)
    figures, floor = dict(task.run(Tfidf())), dict(task.run_floor())
    assert list(figures) == list(floor) == ["probe_8", "probe_64", "probe_all", "knn"]
    assert all(figures[name].mean > floor[name].high for name in figures)
    assert figures["probe_8"].mean < figures["probe_all"].mean
    assert figures["probe_8"].draws == 4 and figures["probe_8"].train_examples == 24


def test_one_label_a_class_is_enough_for_a_probe(tmp_path):
    task = Classification("t", write_labelled(tmp_path / "t.csv", *topics(60)), shots=(1,), draws=2)
    figure = dict(task.run(Tfidf()))["probe_1"]
    assert figure.train_examples == 3 and figure.draws == 2


def test_what_was_dropped_is_said(tmp_path):
    texts, labels = topics(60)
    texts, labels = [*texts, "", texts[0], "lost"], [*labels, "sea", "another", ""]
    test = write_labelled(tmp_path / "b.csv", [*topics(30, seed=1)[0], ""], [*topics(30, seed=1)[1], "sea"])
    facts = Classification("t", write_labelled(tmp_path / "a.csv", texts, labels), test=test).facts()
    assert facts["dropped"] == {"empty text": 2, "missing label": 1}
    assert facts["conflicting_labels"] == facts["duplicates_dropped"] == 1
    words = caption(facts)
    assert "1 repeated texts with another label, of which the first counts" in words
    assert "dropped 2 for empty text, 1 for missing label" in words


def test_facts_say_how_many_examples_there_are(tmp_path):
    texts, labels = topics(90)
    labels[0] = "rare"
    path = write_labelled(tmp_path / "a.csv", texts + texts[1:4], labels + labels[1:4])
    test = write_labelled(tmp_path / "b.csv", *topics(30, seed=1))
    facts = Classification("t", path, test=test, max_train=80).facts()
    assert facts["train_examples"] == 80 and facts["test_examples"] == 30
    assert facts["distinct_texts"] == 120 and facts["duplicates_dropped"] == 3
    assert facts["short_classes"] == {"rare": 1}  # fewer than 8; no class has 64, so that no figure is of so many
    assert facts["majority_share"] == pytest.approx(1 / 3)


@pytest.mark.slow
def test_sets_smaller_than_the_shots_leave_the_figure_out(tmp_path):
    task = Classification("t", write_labelled(tmp_path / "a.csv", *topics(60)))
    assert list(dict(task.run(Tfidf()))) == ["probe_8", "probe_all", "knn"]


def test_pairs_are_not_for_classification(tmp_path):
    (tmp_path / "pairs.csv").write_text("text_a,text_b,score\na,b,1\nc,d,2\n")
    with pytest.raises(UserError, match="holds pairs or scores"):
        Classification("t", str(tmp_path / "pairs.csv")).facts()


def test_tuned_figures_see_the_draws_of_the_probe(tmp_path):
    path = write_labelled(tmp_path / "t.csv", *topics(90))
    task = Classification("t", path, tuned=("finetune_8", "finetune_all", "contrast_99"), tuned_draws=2, seed=3)
    split, seen = task.split, []

    def tune(method, train_texts, train_labels, test_texts, seed):
        seen.append((method, list(train_texts), train_labels.tolist(), seed))
        return split.test_labels if method == "finetune" and seed == 3 else 0 * split.test_labels

    figures = dict(task.run_tuned(tune))
    assert list(figures) == ["finetune_8", "finetune_all"]  # there are no 99 texts of a class
    draws = [*few_label_draws(split.train_labels, 8, 2, 3), np.arange(len(split.train_texts))]
    expected = [([split.train_texts[place] for place in draw], split.train_labels[draw].tolist()) for draw in draws]
    assert seen == [("finetune", *expected[0], 3), ("finetune", *expected[1], 4), ("finetune", *expected[2], 3)]
    share = float((split.test_labels == 0).mean())
    assert figures["finetune_8"].scores == [1.0, share] and figures["finetune_8"].interval == "draws"
    assert (figures["finetune_8"].train_examples, figures["finetune_8"].draws) == (24, 2)
    assert figures["finetune_all"].scores == [1.0] and figures["finetune_all"].interval == "test examples"


@pytest.mark.parametrize("wanted", ["tune_8", "finetune", "finetune_0", "finetune_8_8"])
def test_tuned_names_are_checked(wanted: str):
    with pytest.raises(UserError, match=f"t: tuned names '{wanted}'; it takes finetune or contrast"):
        Classification("t", "sample:bbc", tuned=(wanted,))
    with pytest.raises(UserError, match="tuned_draws is 0"):
        Classification("t", "sample:bbc", tuned_draws=0)


def test_a_suite_file_names_tuned_figures(tmp_path):
    write_labelled(tmp_path / "t.csv", *topics(60))
    options = "name: t, path: t.csv, tuned: [finetune_all, contrast_8], tuned_draws: 2"
    (tmp_path / "own.yaml").write_text(f"tasks: [{{{options}}}]")
    task = load_suite(tmp_path / "own.yaml").tasks[0]
    assert (task.tuned, task.tuned_draws) == (("finetune_all", "contrast_8"), 2)
    (tmp_path / "own.yaml").write_text("tasks: [{name: t, path: t.csv, tuned: [tune]}]")
    with pytest.raises(UserError, match="tuned names 'tune'"):
        load_suite(tmp_path / "own.yaml")
