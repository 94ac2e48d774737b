"""Tables of fine-tuning: baselines by what they counted, in a terminal of eighty columns."""

from __future__ import annotations

from typing import Any

import pytest

from textssl.report.card import interval
from textssl.report.finetuned import result_tables, row_words
from textssl.system.terminal import Terminal


@pytest.mark.parametrize("terms", ["words", "characters 3-5", "characters 3-5 or words"])
def test_rows_name_what_was_counted_and_fit(terms: str):
    figures = {name: {"mean": 0.5, "low": 0.4, "high": 0.6} for name in ("accuracy", "macro_f1")}
    figures |= {name: {"mean": 0.5, "low": 0.5, "high": 0.5} for name in ("mcc", "calibration_error", "loss")}
    result = {"test": figures, "baselines": {"tfidf": figures, "scratch": figures}, "splits": {"test": 9, "train": 30}}
    result["baseline_texts"] = 30
    console = Terminal(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for table in result_tables({**result, "terms": {"tfidf": terms}, "temperature": 0.755}):
        console.print(table)
    console.file.close()
    text = console.export_text()
    assert text.startswith("Test: 9 texts")
    assert max(map(len, text.splitlines())) <= 80 and "\u2026" not in text
    shown = [line.split("  ")[0].strip() for line in text.splitlines()]
    assert f"TF-IDF, {terms}" in " ".join(shown) and "temperature 0.755" in text
    assert row_words("tfidf", {"tfidf": terms}) == f"TF-IDF, {terms}" and row_words("tfidf", {}) == "TF-IDF, linear"


@pytest.mark.parametrize("learned", [24, 64])
def test_only_baselines_that_learned_from_validation_texts_are_said_to(learned: int):
    figures = {"accuracy": {"mean": 0.5, "low": 0.4, "high": 0.6}}
    splits = {"train": 24, "validation": 40, "test": 9}
    result = {"test": figures, "baselines": {"tfidf": figures}, "splits": splits, "baseline_texts": learned}
    words = " ".join(str(part) for part in result_tables(result))
    assert ("also learns from the validation texts" in words) == (learned > 24)


@pytest.mark.parametrize(
    ("value", "expected"), [(1.4787e-8, "1.48e-08"), (0.0, "0.000"), (2.5, "2.500"), (3.2e7, "3.2e+07")]
)
def test_errors_of_small_scores_are_not_0(value: float, expected: str):
    figure = {"mean": value, "low": value, "high": value * 2}
    result = {"test": {"mse": figure}, "baselines": {}, "splits": {"train": 1, "test": 9}, "baseline_texts": 1}
    table: Any = next(result_tables(result))
    assert [str(text) for text in table.columns[1].cells] == [expected]
    assert interval("mse", {**figure, "high": value}) == expected
    assert interval("accuracy", 0.0004) == "0.000", "a share has three decimals"
