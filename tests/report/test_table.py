from __future__ import annotations

import re

from rich.console import Console

from textssl.report.captions import legend
from textssl.report.table import result_tables


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


def test_best_of_a_column_is_marked_and_imbalanced_sets_show_f1():
    results = {**RESULTS, "data": {"sms": {**FACTS, "majority_share": 0.9}}}
    text = shown(results, force_terminal=True, color_system="standard")
    assert "\x1b[1;32m0.910" in text and "\x1b[1;32m0.950" in text and "\x1b[1;32m0.900" not in text
    assert "F1 0.810" in text


def test_other_kinds_share_a_table_with_the_answers_side_by_side():
    names = {"a": ["spearman"], "b-clustering": ["v_measure"], "news": ["recall_1", "ndcg_10"], "shape": ["rankme"]}
    similarity = {"kind": "similarity", "pairs": 1500, "available_pairs": 1600}
    texts = {"columns": ["title", "text"], "queries": 98, "documents": 100, "distinct_documents": 100}
    data = {
        "news": {"kind": "retrieval", "dropped": {"empty text": 3}, **texts},
        "a": similarity,
        "b-clustering": {"kind": "clustering", "texts": 300, "distinct_texts": 2127, "classes": ["x", "y"]},
        "shape": {"kind": "geometry", **texts},
    }
    values = {"recall_1": 0.7, "ndcg_10": 0.8, "spearman": -0.4, "v_measure": 0.6, "rankme": 123.4}

    def answers(factor: float, *left_out: str) -> dict:
        kept = {task: names[task] for task in data if task not in left_out}
        return {task: {name: figure(values[name] * factor) for name in kept[task]} for task in kept}

    baselines = {
        "chance": answers(0.1, "shape"),
        "tfidf": answers(1.01, "shape"),
        "random_words": answers(0.5),
        "random_init": answers(0.6),
    }
    text = shown({"draws": 1, "data": data, "tasks": answers(1), "baselines": baselines})
    assert max(map(len, text.splitlines())) <= 80 and "\u2026" not in text
    lines = [line.split() for line in text.splitlines()]
    first = [line[0] for line in lines if line]
    order = ["Texts", "Spearman", "a", "news", "recall@1", "nDCG@10", "Clusters", "Geometry", "shape", "RankMe"]
    assert [word for word in first if word in order] == order
    assert ["nDCG@10", *["0.800", "±.012", "0.080", "0.808", "±.012", "0.400", "±.012", "0.480", "±.012"]] in lines
    assert ["RankMe", *["123.4", "±0.0", "61.7", "±0.0", "74.0", "±0.0"]] in lines  # TF-IDF has no column there
    assert "a: 1,500 pairs of 1,600" in text and "news: 98 x title, 100 x text; dropped 3 for empty text" in text
    assert "b-clustering: 300 texts of 2,127, 2 classes" in text
    clusters = [" ".join(line) for line in lines if "0.606" in line or "0.300" in line]
    assert clusters == ["LSA, k-means 0.606 ±.012", "random words 0.300 ±.012"]
    coloured = shown(
        {"draws": 1, "data": data, "tasks": answers(1), "baselines": baselines},
        force_terminal=True,
        color_system="standard",
    )
    best = re.findall(r"\x1b\[1;32m *(-?[\d.]+)", coloured)  # geometry has no best
    assert best == ["-0.040", "0.707", "0.808", "0.606"]
    alone = shown({"draws": 1, "data": data, "tasks": answers(1), "baselines": {}})
    assert "this model" in alone and "TF-IDF" not in alone
    assert "SVD" in legend({"draws": 1, "data": data}) and "Accuracy" not in legend({"draws": 1, "data": data})


def counting(terms: str, mean: float = 0.5) -> dict:
    return {**figure(mean), "settings": {"terms": terms}}


def test_baselines_are_named_by_what_they_counted():
    tasks = {"sms": {"probe_8": counting("characters 3-5")}}
    text = shown({**RESULTS, "baselines": {"tfidf": tasks, "random_words": {"sms": {"probe_8": counting("words")}}}})
    assert "TF-IDF, characters 3-5" in text and "random words" in text
    texts = {"kind": "retrieval", "columns": ["title", "text"], "queries": 9, "documents": 9, "distinct_documents": 9}
    data = {
        "faq": texts,
        "news": texts,
        "groups": {"kind": "clustering", "texts": 9, "distinct_texts": 9, "classes": "ab"},
    }
    names = {"faq": "recall_1", "news": "recall_1", "groups": "v_measure"}
    results = {"draws": 1, "data": data, "tasks": {task: {name: figure(0.6)} for task, name in names.items()}}
    kinds = {"faq": "characters 1-3", "news": "characters 1-3", "groups": "characters 1-3"}
    for second, said in (("characters 1-3", False), ("words", True)):
        of = {task: {names[task]: counting({**kinds, "news": second}[task])} for task in names}
        baselines = dict.fromkeys(["chance", "tfidf", "random_words", "random_init"], of)
        full = shown({**results, "baselines": baselines, "against": {"model": "b", "tasks": results["tasks"]}})
        text = shown({**results, "baselines": baselines})
        assert max(map(len, [*text.splitlines(), *full.splitlines()])) <= 80 and "\u2026" not in text + full
        assert "faq: baselines count characters 1-3" in full and "TF-IDF," not in full
        assert ("news: baselines count words" in text) == ("faq: baselines count characters 1-3" in text) == said
        assert "groups: baselines count characters 1-3" in text and "LSA, k-means" in text
        assert ("TF-IDF," in text) != said
    assert "cross-validation" in legend({**results, "baselines": baselines}) and "cross" not in legend(results)


def test_another_model_stands_in_every_table_and_differences_in_their_own():
    difference = {"difference": 0.0123, "low": -0.0101, "high": 0.0347, "test": "McNemar"}
    results = {
        **RESULTS,
        "data": {"sms": {**FACTS, "majority_share": 0.9}},
        "against": {"model": "runs/other", "tasks": {"sms": {"probe_all": figure(0.94), "knn": figure(0.8)}}},
        "differences": {
            "sms": {
                "probe_all": {
                    **difference,
                    "p": 0.0002,
                    "p_holm": 0.0004,
                    "macro_f1": {**difference, "p": 1, "p_holm": 1},
                },
                "knn": {**difference, "p": 0.25, "p_holm": 0.25},
            }
        },
    }
    text = shown(results)
    assert max(map(len, text.splitlines())) <= 80 and "\u2026" not in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "other model - 0.940 ±.012 0.800 ±.012" in rows
    assert "This model minus runs/other" in rows
    assert "all 1,000 +0.012 [-0.010, +0.035] <0.001 <0.001" in rows
    assert "all 1,000, F1 +0.012 [-0.010, +0.035] 1.000 1.000" in rows
    assert "k-NN +0.012 [-0.010, +0.035] 0.250 0.250" in rows
    assert "McNemar" in legend(results) and "2 figures" in legend(results) and "Holm" in legend(results)
    coloured = shown(results, force_terminal=True, color_system="standard")
    assert "\x1b[1m+0.012" in coloured.replace(" ", "") and coloured.replace(" ", "").count("\x1b[1m+0.012") == 1


def test_nats_of_two_tokenizers_are_not_ranked():
    data = {"text": {"kind": "language", "domain": None, "texts": 20, "tokens": 100, "bytes": 400}}
    found = {"text": {"nats_per_token": figure(3.0)}}
    results = {"draws": 1, "data": data, "tasks": found, "baselines": {}}
    styled = {"force_terminal": True, "color_system": "standard"}
    assert "\x1b[1;32m3.000" in shown(results, **styled)
    other = {"model": "other", "tasks": {"text": {"nats_per_token": figure(4.0)}}}
    assert "\x1b[1;32m" not in shown({**results, "against": other}, **styled)


def test_fine_tuned_figures_have_their_own_table():
    names = ["probe_all", "finetune_all", "contrast_8"]
    tasks = {"sms": {name: figure(0.9) for name in names}}
    results = {**RESULTS, "tasks": tasks, "baselines": {"tfidf": tasks, "random_init": tasks}}
    text = shown(results)
    assert "sms: accuracy of the whole model, trained" in text
    assert "fine-tuned, all 1,000" in text and "contrastive, 8 a class" in text
    assert "TF-IDF, probe" in text and "from scratch" in text and "same, untrained" in text
    assert "contrastive" in legend(results) and "contrastive" not in legend(RESULTS)


def test_six_answers_fit_eighty_columns():
    names = ["chance", "tfidf", "random_words", "random_init"]
    tasks = {"news-retrieval": {"recall_10": figure(0.5)}, "wordsim": {"spearman": figure(-0.4)}}
    texts = {"columns": ["title", "text"], "queries": 98, "documents": 100, "distinct_documents": 100}
    data = {
        "news-retrieval": {"kind": "retrieval", **texts},
        "wordsim": {"kind": "word_similarity", "pairs": 9, "available_pairs": 9},
    }
    against = {"model": "other", "tasks": tasks}
    baselines = dict.fromkeys(names, tasks)
    text = shown({"draws": 1, "data": data, "tasks": tasks, "against": against, "baselines": baselines})
    assert max(map(len, text.splitlines())) <= 80 and "\u2026" not in text


def test_of_bits_per_byte_the_lowest_is_the_best_and_of_accuracies_the_highest():
    data = {
        "bbc-text": {"kind": "language", "domain": "out", "texts": 28, "tokens": 17000, "bytes": 62000},
        "agreement": {"kind": "minimal_pairs", "pairs": 360, "available_pairs": 360},
    }
    tasks = {"bbc-text": {"bits_per_byte": figure(1.9)}, "agreement": {"accuracy": figure(0.7), "simple": figure(0.5)}}
    worse = {"bbc-text": {"bits_per_byte": figure(4.2)}, "agreement": {"accuracy": figure(0.5), "simple": figure(0.52)}}
    chance = {"agreement": {"accuracy": figure(0.5), "simple": figure(0.5)}}
    results = {"draws": 1, "data": data, "tasks": tasks, "baselines": {"chance": chance, "random_init": worse}}
    text = " ".join(shown(results).split())
    assert "Language modelling" in text and "bits per byte 1.900 ±.012 - 4.200 ±.012" in text
    assert "bbc-text: out of domain, 28 texts, 17,000 tokens, 62,000 bytes" in text and "agreement: 360 pairs" in text
    coloured = shown(results, force_terminal=True, color_system="standard")
    assert re.findall(r"\x1b\[1;32m *(-?[\d.]+)", coloured) == ["1.900", "0.700", "0.520"]
    assert "less is better" in legend(results) and "chance is 0.5" in legend(results)
    assert "cosine" not in legend(results)
