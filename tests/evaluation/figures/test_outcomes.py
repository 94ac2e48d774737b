"""What figures are made of, kept in a file."""

from __future__ import annotations

import numpy as np
import pytest

from textssl.evaluation.figures.outcomes import Outcomes, load, store
from textssl.evaluation.figures.paired import outcome_difference


def both(seed: int) -> dict[str, Outcomes]:
    """One of each measure, of 40 examples."""
    rng = np.random.default_rng(seed)
    truth, found = np.random.default_rng(9).integers(3, size=40), rng.integers(3, size=(4, 40))
    return {
        "a/mean": Outcomes.of("mean", rng.random(40)),
        "a/right": Outcomes.of("mean", rng.random(40) < 0.5),
        "b/ratio": Outcomes.of("ratio", rng.random(40), np.ones(40)),
        "b/spearman": Outcomes.of("spearman", rng.random(40), np.arange(40.0)),
        "c/parts": Outcomes("parts", 40, (rng.random(10),)),
        "c/share": Outcomes.of("share", found == truth),
        "c/macro_f1": Outcomes.of("macro_f1", truth, found),
        "c/v_measure": Outcomes.of("v_measure", truth, found),
    }


def test_what_is_stored_gives_the_same_tests(tmp_path):
    for seed in (0, 1):
        store(tmp_path / f"{seed}.npz", both(seed))
    ours, theirs = load(tmp_path / "0.npz"), load(tmp_path / "1.npz")
    for name, one in both(0).items():
        assert (ours[name].measure, ours[name].examples, ours[name].repetitions) == (
            *(one.measure, one.examples),
            4 if one.measure in ("share", "macro_f1", "v_measure") else 1,
        )
        assert outcome_difference(ours[name], theirs[name], 0.1) == outcome_difference(one, both(1)[name], 0.1)
    assert outcome_difference(ours["a/right"], theirs["a/right"], 0.1).test == "McNemar"
    with pytest.raises(AssertionError, match="both models answer the same"):
        outcome_difference(ours["a/mean"], theirs["b/ratio"], 0.1)


def test_a_damaged_file_is_an_error(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises((OSError, ValueError)):
        load(tmp_path / "x.npz")
    with pytest.raises(OSError):
        load(tmp_path / "missing.npz")
