from __future__ import annotations

import pytest

from tests.report.test_table import FACTS, RESULTS, figure
from textssl.errors import UserError
from textssl.report.evaluated import BEGIN, END, add_evaluation

FULL = {**RESULTS, "model": "/home/somebody/runs/a/model", "suite": "quick", "weights_hash": "0123456789abcdef"}
CARD = "---\ntags: []\n---\n\n# a\n\n## Use\n\ntext\n\n## Limits\n\n- one\n"


def test_tables_stand_before_the_limits_beside_the_baselines(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    card = add_evaluation(tmp_path, FULL, ["Held-out text: 1.5 bits per byte."]).read_text()
    assert card.replace(card[card.index(BEGIN) : card.index(END) + len(END)], "").split() == CARD.split()
    assert card.index("## Use") < card.index(BEGIN) < card.index(END) < card.index("## Limits")
    assert "`textssl evaluate --model model --suite quick --baselines`" in card and "somebody" not in card
    assert "### sms: accuracy" in card
    assert "|  | 8 a class | all 1,000 | k-NN |\n| --- | ---: | ---: | ---: |" in card
    assert "| this model | 0.900 ±.012 | **0.950** ±.012 | **0.800** ±.012 |" in card
    assert "| TF-IDF | **0.910** ±.012 | 0.800 ±.012 | - |" in card
    assert "25% of the texts cut at 128 tokens" in card and "10 draws" in card
    assert "Held-out text: 1.5 bits per byte." in card


def test_a_second_evaluation_replaces_the_first(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    add_evaluation(tmp_path, FULL)
    better = {**FULL, "tasks": {"sms": {"probe_8": figure(0.99)}}, "baselines": {}}
    card = add_evaluation(tmp_path, better).read_text()
    assert card.count("## Evaluation") == card.count(BEGIN) == card.count(END) == 1
    assert "0.990" in card and "0.900" not in card and "--baselines" not in card
    assert add_evaluation(tmp_path, better).read_text() == card


def test_cells_of_imbalanced_sets_keep_their_second_line_inside_the_row(tmp_path):
    results = {**FULL, "data": {"sms": {**FACTS, "majority_share": 0.9}}}
    card = add_evaluation(tmp_path, results).read_text()
    assert "| this model | 0.900 ±.012<br>F1 0.800 |" in card


def test_other_cards_get_it_at_their_end_and_no_card_becomes_one(tmp_path):
    (tmp_path / "README.md").write_text("# theirs\n\nwords\n")
    assert add_evaluation(tmp_path, FULL).read_text().startswith(f"# theirs\n\nwords\n\n{BEGIN}\n## Evaluation")
    folder = tmp_path / "bare"
    folder.mkdir()
    assert add_evaluation(folder, FULL).read_text().startswith(f"# bare\n\n{BEGIN}\n")
    assert [path.name for path in folder.iterdir()] == ["README.md"]


@pytest.mark.parametrize("card", [b"\xff\xfe", f"# a\n{BEGIN}\n".encode(), f"# a\n{END}\n".encode()])
def test_a_card_that_cannot_be_changed_safely_stays_as_it_was(tmp_path, card):
    (tmp_path / "README.md").write_bytes(card)
    with pytest.raises(UserError, match=r"README\.md"):
        add_evaluation(tmp_path, FULL)
    assert (tmp_path / "README.md").read_bytes() == card
