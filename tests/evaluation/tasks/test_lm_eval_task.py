from __future__ import annotations

import importlib.util
import json
import logging
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from tests.evaluation.scoring import model, scorer_of, tokenizer_of
from textssl.errors import UserError
from textssl.evaluation.tasks.lm_eval_task import LmEval

needs_harness = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None, reason="lm-eval is not installed (the extra [eval])"
)
QUESTIONS = [
    ("A man", ["was here", "were here"], 0),
    ("The boats", ["is old", "are unbelievably old"], 1),
    ("It", ["is a statement", "am"], 0),
    ("She", ["like it", "likes the harbours near it", "liking"], 1),
    ("They", ["saw themselves", "saw himself"], 0),
]


@pytest.fixture
def harness(tmp_path) -> Path:
    """A folder as lm-eval's users write them: a multiple-choice task, its data, and a group that sums up."""
    folder = tmp_path / "harness"
    folder.mkdir()
    for name, questions in (("mine", QUESTIONS), ("other", QUESTIONS[:3])):
        rows = [dict(zip(("question", "choices", "label"), row, strict=True)) for row in questions]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": f"{name}.jsonl"}, "cache_dir": str(tmp_path / "cache")},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{question}}",
            "doc_to_target": "label",
            "doc_to_choice": "{{choices}}",
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
            ],
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))
    group = {
        "group": "both",
        "task": ["mine", "other"],
        "aggregate_metric_list": [{"metric": "acc", "aggregation": "mean", "weight_by_size": True}],
    }
    (folder / "both.yaml").write_text(yaml.safe_dump(group))
    return folder


def log_probability(question: str, choice: str) -> float:
    """Of ` CHOICE` behind the question, token by token on the stock model."""
    tokenizer = tokenizer_of("llama")
    before, whole = tokenizer(question)["input_ids"], tokenizer(f"{question} {choice}")["input_ids"]
    assert whole[: len(before)] == before
    total = 0.0
    for place in range(len(before), len(whole)):
        with torch.no_grad():
            logits = model("llama")(input_ids=torch.tensor([whole[:place]])).logits[0, -1]
        total += float(logits.log_softmax(-1)[whole[place]])
    return total


def right_by_hand(per_letter: bool) -> list[bool]:
    right = []
    for question, choices, label in QUESTIONS:
        scores = [log_probability(question, choice) / (len(choice) if per_letter else 1) for choice in choices]
        right.append(int(np.argmax(scores)) == label)
    return right


@needs_harness
def test_a_local_task_gives_the_choices_that_log_probabilities_by_hand_give(harness, capfd):
    task = LmEval("harness", ["mine"], path=str(harness))
    assert task.facts()["examples"] == {"mine": 5}
    random_states = random.getstate(), torch.get_rng_state()
    figures: dict[str, Any] = dict(task.run(scorer_of("llama")))
    assert random.getstate() == random_states[0] and torch.equal(torch.get_rng_state(), random_states[1])
    assert list(figures) == ["mine/acc", "mine/acc_norm"]
    assert figures["mine/acc"].outcomes.values.tolist() == right_by_hand(per_letter=False)
    assert figures["mine/acc_norm"].outcomes.values.tolist() == right_by_hand(per_letter=True)
    assert figures["mine/acc"].mean == np.mean(right_by_hand(per_letter=False))
    assert (figures["mine/acc"].interval, figures["mine/acc"].test_examples) == ("test examples", 5)
    assert figures["mine/acc"].low <= figures["mine/acc"].mean <= figures["mine/acc"].high
    assert dict(task.run(scorer_of("llama"))) == figures
    assert capfd.readouterr() == ("", "") and logging.getLogger("lm_eval").level != logging.CRITICAL


@needs_harness
def test_log_probabilities_are_those_of_the_stock_model(harness):
    found = LmEval("harness", ["mine"], path=str(harness))._evaluate(scorer_of("llama"))
    for (question, choices, _), sample in zip(QUESTIONS, found["samples"]["mine"], strict=True):
        answers = [response[0][0] for response in sample["resps"]]
        np.testing.assert_allclose(answers, [log_probability(question, choice) for choice in choices], rtol=1e-5)


@needs_harness
def test_a_group_that_sums_up_stands_for_its_tasks_and_a_limit_cuts_them(harness):
    both = LmEval("harness", ["both"], path=str(harness))
    (item,) = both.run(scorer_of("llama"))
    right = right_by_hand(per_letter=False)
    assert item[0] == "both/acc" and item[1].mean == pytest.approx(np.mean([*right, *right[:3]]))
    assert item[1].test_examples == 8
    cut = LmEval("harness", ["mine"], path=str(harness), limit=2)
    assert cut.facts()["examples"] == {"mine": 2}
    assert dict(cut.run(scorer_of("llama")))["mine/acc"].test_examples == 2


@needs_harness
def test_what_cannot_be_loaded(harness, tmp_path):
    with pytest.raises(UserError, match=r"there is no lm-eval task mined in .*harness; did you mean mine\?"):
        LmEval("a", ["mined"], path=str(harness)).facts()
    with pytest.raises(UserError, match="a: there is no folder"):
        LmEval("a", ["mine"], path=str(tmp_path / "nowhere")).facts()
    (harness / "mine.jsonl").unlink()
    with pytest.raises(UserError, match=r"a: lm-eval could not load mine from .*harness: .*mine.jsonl"):
        LmEval("a", ["mine"], path=str(harness)).facts()


def test_without_the_harness_there_is_one_clear_message(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"a: lm-eval is not installed: pip install -c constraints.txt 'textssl\[eval\]'"
    ):
        LmEval("a", ["blimp"]).facts()


@pytest.mark.parametrize(("options", "wrong"), [({"tasks": []}, "tasks"), ({"tasks": ["x"], "limit": 0}, "limit")])
def test_options_that_ask_for_nothing(options: dict, wrong: str):
    with pytest.raises(UserError, match=f"a: {wrong} is"):
        LmEval("a", **options)
