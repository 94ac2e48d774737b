"""Tables of fine-tuning: baselines by what they counted, in a terminal of eighty columns."""

from __future__ import annotations

import pytest

from textssl.report.finetuned import result_tables, row_words
from textssl.system.terminal import Terminal


@pytest.mark.parametrize("terms", ["words", "characters 3-5", "characters 3-5 or words"])
def test_rows_name_what_was_counted_and_fit(terms: str):
    figures = {name: {"mean": 0.5, "low": 0.4, "high": 0.6} for name in ("accuracy", "macro_f1")}
    figures |= {name: {"mean": 0.5, "low": 0.5, "high": 0.5} for name in ("mcc", "calibration_error", "loss")}
    result = {"test": figures, "baselines": {"tfidf": figures, "scratch": figures}, "splits": {"test": 9}}
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
