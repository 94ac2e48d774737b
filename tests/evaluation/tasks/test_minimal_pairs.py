from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.evaluation.scoring import causal_log_probability, pseudo_log_probability, scorer_of
from textssl.errors import UserError
from textssl.evaluation.tasks.agreement import PHENOMENA
from textssl.evaluation.tasks.minimal_pairs import MinimalPairs, read_minimal_pairs

PAIRS = [
    ("The man was here.", "The man were here.", "agreement"),
    ("The harbours are unbelievably old.", "The harbours is unbelievably old.", "agreement"),
    ("She likes it.", "She like it.", "agreement"),
    ("They saw themselves.", "They saw himself.", "reflexive"),
    ("He wrote statements.", "He statements wrote.", "order"),
    ("Assignment is a statement.", "Assignment a statement is.", "order"),
]


def write_minimal_pairs(file: Path, pairs: list = PAIRS) -> Path:
    rows = [dict(zip(("good", "bad", "phenomenon"), pair, strict=True)) for pair in pairs]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.slow
@pytest.mark.parametrize("hide_rest", [False, True])
@pytest.mark.parametrize("family", ["llama", "bert"])
def test_the_share_of_right_pairs_equals_a_count_by_hand(family: str, hide_rest: bool, tmp_path):
    task = MinimalPairs("own", str(write_minimal_pairs(tmp_path / "pairs.jsonl")), hide_rest=hide_rest)
    figures: dict[str, Any] = dict(task.run(scorer_of(family)))

    def score(text: str) -> float:
        if family == "llama":
            return causal_log_probability(family, text)
        return pseudo_log_probability(family, text, hide_rest)

    right = np.array([score(good) > score(bad) for good, bad, _ in PAIRS])
    assert list(figures) == ["accuracy", "agreement", "reflexive", "order"]
    assert figures["accuracy"].mean == pytest.approx(right.mean())
    assert figures["agreement"].mean == pytest.approx(right[:3].mean())
    assert figures["order"].mean == pytest.approx(right[4:].mean())
    assert (figures["accuracy"].interval, figures["accuracy"].test_examples) == ("pairs", 6)
    assert figures["accuracy"].low <= figures["accuracy"].mean <= figures["accuracy"].high
    assert figures["accuracy"].outcomes.values.tolist() == right.tolist()


def test_what_is_right_decides_and_equal_sentences_count_half(tmp_path, monkeypatch):
    task = MinimalPairs("own", str(write_minimal_pairs(tmp_path / "pairs.jsonl")), max_pairs=4)
    scorer = scorer_of("llama")
    goods = {good for good, _, _ in PAIRS}

    def likelihood(texts, **options):
        found = type(scorer).likelihood(scorer, texts, **options)
        nats = np.array([2.0 if "He" in text or "They" in text else 1.0 if text in goods else 2.0 for text in texts])
        object.__setattr__(found, "nats", nats)
        return found

    monkeypatch.setattr(scorer, "likelihood", likelihood)
    figures: dict[str, Any] = dict(task.run(scorer))
    assert figures["agreement"].mean == 1 and figures["reflexive"].mean == 0.5
    assert figures["accuracy"].mean == 3.5 / 4
    assert figures["accuracy"].outcomes.values.tolist() == [1, 1, 1, 0.5]


def test_the_shipped_set_with_its_floor():
    task = MinimalPairs("agreement")
    facts = task.facts()
    assert (facts["pairs"], facts["source"]) == (360, "agreement")
    assert facts["phenomena"] == dict.fromkeys(PHENOMENA, 60)
    floor = dict(task.run_floor())
    assert list(floor) == ["accuracy", *PHENOMENA] and {figure.mean for figure in floor.values()} == {0.5}
    assert list(dict(task.run(scorer_of("llama")))) == list(floor)


def test_broken_records_are_counted_and_phenomena_may_be_missing(tmp_path):
    (tmp_path / "p.csv").write_text("good,bad\nA b.,A c.\nA b.,A c.\nsame,same\n,x\nX y.,X z.\n")
    pairs, report = read_minimal_pairs(str(tmp_path / "p.csv"))
    assert [pair[:2] for pair in pairs] == [("A b.", "A c."), ("X y.", "X z.")]
    assert report.as_dict() == {"empty text": 1, "good and bad are the same": 1, "repeated pair": 1}
    task = MinimalPairs("own", str(tmp_path / "p.csv"))
    assert list(dict(task.run_floor())) == ["accuracy"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("right,bad\na,b\n", "there is no column good; there are right, bad"),
        ("good,bad\nsame,same\n", "holds no minimal pair; dropped: good and bad are the same: 1"),
        ("good,bad,phenomenon\na,b,accuracy\n", "p.csv:2: a phenomenon cannot be called accuracy"),
    ],
)
def test_mistakes_in_a_file(content: str, message: str, tmp_path):
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        MinimalPairs("own", str(tmp_path / "p.csv")).facts()
