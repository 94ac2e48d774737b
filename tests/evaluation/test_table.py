from __future__ import annotations

from rich.console import Console

from textssl.evaluation.table import legend, result_tables


def figure(mean: float, half: float = 0.012) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half, "macro_f1": {"mean": mean - 0.1}}


FACTS = {
    "train_examples": 1000,
    "test_examples": 500,
    "distinct_texts": 4522,
    "classes": ["ham", "spam"],
    "majority_share": 0.5,
    "short_classes": {"spam": 40},
    "truncated_share": 0.25,
    "max_tokens": 128,
}
RESULTS = {
    "draws": 10,
    "data": {"sms": FACTS},
    "tasks": {"sms": {"probe_8": figure(0.9), "probe_all": figure(0.95), "knn": figure(0.8)}},
    "baselines": {"tfidf": {"sms": {"probe_8": figure(0.91), "probe_all": figure(0.8)}}},
}


def shown(results: dict, **options) -> str:
    console = Console(width=80, record=True, file=open("/dev/null", "w"), **options)  # noqa: SIM115
    for table in result_tables(results):
        console.print(table)
    console.file.close()
    return console.export_text(styles=bool(options))


def test_rows_columns_intervals_and_counts_fit_eighty_columns():
    text = shown(RESULTS)
    assert max(map(len, text.splitlines())) <= 80 and "\u2026" not in text
    assert "8 a class" in text and "all 1,000" in text and "k-NN" in text
    assert "0.900 \u00b1.012" in text and "TF-IDF" in text
    caption = " ".join(text.split())
    assert "1,000 training and 500 test texts of 4,522" in caption
    assert "classes with fewer: spam 40" in caption and "25% of the texts cut at 128 tokens" in caption
    assert "F1" not in text
    assert "10 draws" in legend(RESULTS)


def test_best_of_a_column_is_marked_and_imbalanced_sets_show_f1():
    results = {**RESULTS, "data": {"sms": {**FACTS, "majority_share": 0.9}}}
    text = shown(results, force_terminal=True, color_system="standard")
    assert "\x1b[1;32m0.910" in text and "\x1b[1;32m0.950" in text and "\x1b[1;32m0.900" not in text
    assert "F1 0.810" in text
