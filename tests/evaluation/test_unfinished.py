"""What is kept of finished tasks comes back as it was; what cannot be kept or read stops nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textssl.evaluation.figures.figure import Accuracy, measured, trained_once
from textssl.evaluation.figures.intervals import Score
from textssl.evaluation.unfinished import Unfinished, figure_of, fingerprint, plain_figures


def figures():
    truth = np.array([0, 1, 1, 0, 2, 1])
    return {
        "probe_8": trained_once(truth, np.array([0, 1, 0, 0, 2, 2]), 24, 0, {"C": [0.1]}),
        "spearman": measured(Score(1 / 3, -float("inf"), float("nan")), "pairs", 6),
    }


def test_figures_come_back_and_are_made_once(tmp_path):
    file, made = tmp_path / "new" / "kept.json", []
    first = Unfinished(file).figures("a", lambda: made.append(1) or figures())
    assert first["probe_8"].outcomes is not None
    again = Unfinished(file)
    assert again.before == {"a"}
    back = again.figures("a", lambda: made.append(1) or figures())
    assert made == [1] and isinstance(back["probe_8"], Accuracy) and isinstance(back["probe_8"].macro_f1, Score)
    assert json.dumps(plain_figures(back)) == json.dumps(plain_figures(first))
    assert figure_of(first["probe_8"].as_dict()) == back["probe_8"]
    again.clear()
    assert not file.exists() and Unfinished(file).before == set()


def test_a_file_that_is_broken_or_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "kept.json").write_text("{")
    kept = Unfinished(tmp_path / "kept.json")
    assert kept.take("a", lambda: {"x": (1, 2)}) == {"x": [1, 2]} and kept.trouble is None
    (tmp_path / "file").write_text("")
    kept = Unfinished(tmp_path / "file" / "kept.json")
    assert kept.take("a", lambda: {"x": 1}) == {"x": 1} and "cannot be written" in str(kept.trouble)
    kept.clear()


def test_a_task_that_fails_is_not_kept(tmp_path):
    kept = Unfinished(tmp_path / "kept.json")
    kept.take("a", dict)
    with pytest.raises(ZeroDivisionError):
        kept.take("b", lambda: {"x": 1 / 0})
    assert Unfinished(tmp_path / "kept.json").before == {"a"}


def test_what_tasks_have_in_common_makes_no_file(tmp_path):
    file = tmp_path / "kept.json"
    kept = Unfinished(file)
    kept.note("threads", 2)
    assert not file.exists()
    kept.take("a", dict)
    assert Unfinished(file).records == {"threads": 2, "a": {}} and Unfinished(file).before == {"a"}


def test_any_fact_changes_the_name():
    assert fingerprint([1], {"a": 2.0}) == fingerprint([1], {"a": 2.0}) != fingerprint([1], {"a": 2.5})
