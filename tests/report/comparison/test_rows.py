"""Rows of a comparison, and how they are written."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from scipy import stats

from tests.report.comparison.made import comparison, runs
from textssl.report.comparison.rows import csv_text, make_rows, mark, short_figures, terminal_table
from textssl.system.terminal import Terminal

KEY = "news/probe_8"


def test_best_first_then_the_unfinished_then_baselines():
    rows = comparison()["rows"]
    names = ["better", "worse", "coming", "broken", "TF-IDF", "random initialisation"]
    assert [row["name"] for row in rows] == names
    assert [row["kind"] for row in rows] == ["objective"] * 4 + ["baseline"] * 2
    assert rows[2]["pending"] == 1 and rows[3]["failed"] == "seed 0: data.pairs is missing <b>"


def test_seeds_have_students_interval_and_the_least_sure_test():
    records = runs()
    records[1][2]["above_random"]["news/probe_8"]["p"] = 0.2
    row = next(row for row in make_rows(records, {}) if row["name"] == "better")
    found, values = row["figures"]["news/probe_8"], np.array([0.55, 0.65])
    half = stats.t.ppf(0.975, 1) * values.std(ddof=1) / np.sqrt(2)
    assert found["mean"] == pytest.approx(0.6)
    assert (found["low"], found["high"]) == (pytest.approx(max(0.0, 0.6 - half)), pytest.approx(min(1.0, 0.6 + half)))
    assert found["above_random"] == {"difference": pytest.approx(0.15), "p": 0.2}
    assert row["seeds"] == 2 and row["cost"]["seconds"] == 121.0
    surely = {**found, "above_random": {"difference": 0.1, "p": 0.01}}
    assert mark({**surely, "above_start": {"difference": 0.1, "p": 0.3}}, KEY) == ".600"  # as it began
    assert mark(found, KEY) == ".600" and mark(surely, KEY) == ".600*"
    assert mark({**found, "above_random": {"difference": -0.1, "p": 0.01}}, KEY) == ".600"
    tied, below = ({**found, "beside_best": {"best": "x", "difference": 0.01, "p": p}} for p in (0.2, 0.01))
    assert (mark(tied, KEY), mark(below, KEY)) == (".600=", ".600")


def test_fewer_bits_are_a_gain():
    bits = {"mean": 2.5, "low": 2.4, "high": 2.6}
    fewer, more = ({**bits, "above_start": {"difference": sign * 0.5, "p": 0.01}} for sign in (-1, 1))
    assert mark(fewer, "text/bits_per_byte") == "2.500*" and mark(more, "text/bits_per_byte") == "2.500"


def test_the_short_table_has_every_kind_of_figure_once():
    assert list(short_figures(comparison()["rows"]).values()) == [
        *("8 labels", "64 labels", "all labels", "k-NN", "STS", "clusters", "recall@1", "bits/byte", "RankMe")
    ]


def test_csv_has_intervals_tests_and_costs_last():
    lines = list(csv.DictReader(io.StringIO(csv_text(comparison()["rows"]))))
    assert list(lines[0])[-4:] == ["tokens", "parameters", "seconds", "peak_bytes"]
    worse = lines[1]
    assert float(worse["news/probe_8"]) == pytest.approx(0.46) and float(worse["news/probe_8 low"]) < 0.46
    assert worse["news/probe_8 p above random"] == "0.01" and worse["news/probe_8 p above TF-IDF"] == "0.5"
    assert float(worse["text/bits_per_byte"]) == 2.5 and lines[0]["text/bits_per_byte"] == ""
    assert lines[2]["state"] == "not run yet" and "data.pairs" in lines[3]["state"]


def test_terminal_shows_what_failed_and_what_is_to_come(capsys):
    Terminal(width=200).print(terminal_table(comparison()["rows"], 200))
    shown = capsys.readouterr().out
    assert "broken (failed)" in shown and "coming (not run yet)" in shown and " .460*" in shown and "seconds" in shown


def test_a_narrow_terminal_shows_whole_figures(capsys):
    Terminal(width=80).print(terminal_table(comparison()["rows"], 80))
    shown = capsys.readouterr().out
    assert " .460*" in shown and max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown and "intervals are in the files" in " ".join(shown.split())
