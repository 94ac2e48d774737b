"""What a run that failed has said, and that it ends with its comparison."""

from __future__ import annotations

import pytest

from textssl.assembly.comparison.training import last_words


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("step 1\nerror: data.pairs is missing\ntextssl pretrain: 20s so far\n", "data.pairs is missing"),
        ("error: an earlier one\nstep\nerror: the last one\n", "the last one"),
        ("Traceback:\n  File\nValueError: no room\n\n", "ValueError: no room"),
        ("", "no word"),
        (f"error: {'x' * 1000}", "x" * 400),
    ],
)
def test_the_error_that_ended_a_run(log, words, tmp_path):
    (tmp_path / "log.txt").write_text(log)
    assert last_words(tmp_path / "log.txt") == words
