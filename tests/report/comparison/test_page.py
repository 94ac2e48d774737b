"""The page of a comparison, opened in a browser without a window."""

from __future__ import annotations

import re

import pytest

from tests.browser import opened, selftest
from tests.report.comparison.made import LABELS, comparison
from textssl.report.comparison.page import efficiency, page_data, write_page

LOWEST = {"probe_8": False, "bits_per_byte": True, "alignment": None, "mean_cosine": None}  # whether that is the best


@pytest.mark.slow
def test_page_works_in_a_browser(tmp_path):
    page = tmp_path / "report.html"
    write_page(page, comparison())
    dom, console = opened(page, tmp_path / "profile")
    found = selftest(dom)
    assert not console and found["errors"] == []
    assert len(found["values"]) == 2 and found["values"] == sorted(found["values"], reverse=True)
    assert found["turned"] == sorted(found["values"]) != found["values"]
    maps = 4  # two objectives, TF-IDF, random initialisation
    assert found["pictures"] == found["named"] == 1 + 1 + 2 + 2 + maps  # efficiency, probe, losses, collapse
    assert "failed: seed 0: data.pairs is missing &lt;b&gt;" in dom and "not run yet" in dom


@pytest.mark.slow
def test_a_fault_in_the_script_is_seen(tmp_path):
    page = tmp_path / "report.html"
    write_page(page, comparison())
    page.write_text(page.read_text().replace("table(); efficiency();", "table(); nothing(); efficiency();"))
    dom, console = opened(page, tmp_path / "profile")
    assert console and "data-selftest" not in dom


def test_page_needs_no_network_and_texts_end_nothing(tmp_path):
    write_page(tmp_path / "report.html", comparison())
    text = (tmp_path / "report.html").read_text()
    assert not re.search(r'(src|href)="?(https?:)?//', text) and "@import" not in text and "fetch(" not in text
    assert text.count("</script>") == 1 and LABELS[1].startswith("</script>")
    assert len(text) < 100_000


def test_curves_and_maps_are_of_the_first_seed():
    data = page_data(comparison())
    assert set(data["curves"]) == {"worse", "better"}
    assert list(data["maps"]) == ["better", "worse", "TF-IDF", "random initialisation"]
    assert data["maps"]["better"] == comparison()["entries"]["better-1"]["map"]


def test_figures_that_rank_nothing_have_no_best():
    rows = [{"name": "a", "figures": {f"news/{name}": {"mean": 1.0, "low": 1.0, "high": 1.0} for name in LOWEST}}]
    data = page_data({**comparison(), "rows": rows, "entries": {}})
    assert {column["key"].partition("/")[2]: column["low"] for column in data["columns"]} == LOWEST


def test_label_efficiency_is_of_the_task_with_most_numbers_of_labels():
    found = efficiency(comparison()["rows"])
    assert found["task"] == "news"
    assert [point[0] for point in found["rows"]["worse"]] == [2, 8, 64]
    assert efficiency([{"name": "a", "figures": {"x/knn": {}}}]) == {"task": None, "rows": {}}


@pytest.mark.parametrize("rows", [[], comparison()["rows"][-1:]])
def test_a_comparison_that_has_just_begun_has_a_page(rows, tmp_path):
    begun = {**comparison(), "rows": rows, "entries": {}, "baselines": {}}
    write_page(tmp_path / "report.html", begun)
    assert "Objectives at an equal budget" in (tmp_path / "report.html").read_text()
