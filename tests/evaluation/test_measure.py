from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.folders import model, save_model, topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.evaluation.tasks.test_retrieval import write_titles
from tests.evaluation.tasks.test_similarity import write_pairs
from tests.tiny import texts, tiny_tokenizer
from textssl.evaluation.measure import named_values, run_baselines, run_suite
from textssl.evaluation.suite import load_suite
from textssl.evaluation.tasks.agreement import PHENOMENA
from textssl.inference.features import TransformerEncoder
from textssl.inference.language.scorer import live_scorer

FIGURES = {
    "mine": ["probe_4", "probe_all", "knn"],
    "pairs": ["spearman"],
    "words": ["spearman"],
    "groups": ["v_measure"],
    "titles": ["recall_1", "recall_10", "mrr_10", "ndcg_10"],
    "shape": ["alignment", "uniformity", "rankme", "mean_cosine", "normalised_std"],
}


@pytest.fixture
def suite(tmp_path):
    """A task of every kind."""
    write_labelled(tmp_path / "topics.csv", *topics(120))
    write_pairs(tmp_path / "pairs.csv")
    write_titles(tmp_path / "titles.jsonl")
    (tmp_path / "own.yaml").write_text(
        "tasks:\n- {name: mine, path: topics.csv, max_test: 30}\n"
        "- {name: pairs, path: pairs.csv, kind: similarity}\n"
        "- {name: words, path: pairs.csv, kind: word_similarity}\n"
        "- {name: groups, path: topics.csv, kind: clustering, max_texts: 30, starts: 3}\n"
        "- {name: titles, path: titles.jsonl, kind: retrieval}\n"
        "- {name: shape, path: titles.jsonl, kind: geometry}\n"
        "max_tokens: 32\ndraws: 3\nshots: [4]\ninitialisations: 2\n"
    )
    return load_suite(tmp_path / "own.yaml")


@pytest.mark.slow
def test_a_training_loop_gets_every_figure_under_a_path(suite):
    encoder = TransformerEncoder(model("modernbert"), tiny_tokenizer(), max_tokens=suite.max_tokens)
    values = dict(named_values(encoder, suite))
    paths = {f"eval/{task}/{name}" for task, names in FIGURES.items() for name in names}
    assert values.keys() == paths | {f"eval/mine/{name}/macro_f1" for name in FIGURES["mine"]}
    assert list(values)[:2] == ["eval/mine/probe_4", "eval/mine/probe_4/macro_f1"]
    figures = dict(run_suite(encoder, suite))
    assert values["eval/mine/probe_4"] == figures["mine"]["probe_4"].mean
    assert values["eval/titles/ndcg_10"] == pytest.approx(figures["titles"]["ndcg_10"].mean)
    assert np.isfinite(list(values.values())).all()


def test_texts_of_several_tasks_are_read_once(suite, monkeypatch):
    encoder = TransformerEncoder(model("modernbert"), tiny_tokenizer(), max_tokens=suite.max_tokens)
    embed, read = encoder.embed, []
    monkeypatch.setattr(encoder, "embed", lambda texts, **options: read.append(tuple(texts)) or embed(texts, **options))
    dict(named_values(encoder, suite))
    # training and test texts (the test texts are also clustered), pairs (also taken for words), titles, bodies
    assert len(read) == len(set(read)) == 5


@pytest.mark.slow
def test_baselines_where_they_are_defined(suite, tmp_path):
    baselines = dict(run_baselines(save_model(tmp_path / "model", "bert"), suite, progress=False))
    found = {name: {task: list(figures) for task, figures in tasks.items()} for name, tasks in baselines.items()}
    assert list(found) == ["majority", "chance", "tfidf", "lsa_mixture", "random_words", "random_init"]
    assert found["majority"] == {"mine": FIGURES["mine"]}
    assert found["chance"] == {task: FIGURES[task] for task in ("pairs", "words", "groups", "titles")}
    assert found["tfidf"] == {task: FIGURES[task] for task in ("mine", "pairs", "groups", "titles")}
    assert found["lsa_mixture"] == {"groups": FIGURES["groups"]}
    assert found["random_words"] == found["random_init"] == FIGURES
    for name in ("tfidf", "lsa_mixture", "random_words"):
        settings = [figure.settings for figures in baselines[name].values() for figure in figures.values()]
        assert {setting["terms"] for setting in settings} <= {"words", "characters 3-5"}
    assert baselines["tfidf"]["pairs"]["spearman"].settings["terms"] == "words"
    assert "C" in baselines["tfidf"]["mine"]["probe_all"].settings
    assert "terms" not in baselines["random_init"]["mine"]["probe_4"].settings
    untrained = baselines["random_init"]["mine"]["probe_4"]
    assert untrained.interval == "initialisations" and len(untrained.scores) == 6
    assert np.isfinite([untrained.low, untrained.high]).all()
    assert baselines["tfidf"]["mine"]["probe_all"].mean > baselines["majority"]["mine"]["probe_all"].mean
    assert baselines["random_words"]["shape"]["rankme"].mean > baselines["random_init"]["shape"]["rankme"].mean


@pytest.mark.slow
def test_the_tuner_is_asked_where_tasks_want_it_and_stands_beside_baselines(suite, tmp_path):
    task = suite.tasks[0]
    task.tuned, task.tuned_draws = ("finetune_all", "contrast_4"), 2
    asked = []

    def tuner(name: str):
        def tune(method, train_texts, train_labels, test_texts, seed):
            asked.append((name, method, len(train_texts), seed))
            return np.full(len(test_texts), train_labels[0])

        return tune

    encoder = TransformerEncoder(model("modernbert"), tiny_tokenizer(), max_tokens=suite.max_tokens)
    assert list(dict(run_suite(encoder, suite))["mine"]) == FIGURES["mine"]
    figures = dict(run_suite(encoder, suite, tuner=tuner("model")))
    assert list(figures["mine"]) == [*FIGURES["mine"], "finetune_all", "contrast_4"]
    baselines = dict(
        run_baselines(save_model(tmp_path / "model", "bert"), suite, progress=False, scratch_tuner=tuner("scratch"))
    )
    train = len(task.split.train_texts)
    calls = [("finetune", train, 0), ("contrast", 12, 0), ("contrast", 12, 1)]
    assert asked == [(name, *call) for name in ("model", "scratch") for call in calls]  # once, of two initialisations
    for beside in ("tfidf", "majority"):
        found = baselines[beside]["mine"]
        assert (found["finetune_all"], found["contrast_4"]) == (found["probe_all"], found["probe_4"])
    assert baselines["random_init"]["mine"]["finetune_all"].interval == "test examples"
    assert "finetune_all" not in baselines["random_words"]["mine"]


@pytest.fixture
def language_suite(tmp_path):
    """A task that reads vectors, and two that read a language model."""
    write_pairs(tmp_path / "pairs.csv")
    (tmp_path / "text.txt").write_text("\n\n".join(text.replace("\n\n", "\n") for text in texts()[:20]))
    (tmp_path / "language.yaml").write_text(
        "tasks:\n- {name: pairs, path: pairs.csv, kind: similarity}\n"
        "- {name: text, path: text.txt, kind: language, max_bytes: 2000, max_masked_bytes: 500}\n"
        "- {name: agreement, kind: minimal_pairs}\ninitialisations: 2\n"
    )
    return load_suite(tmp_path / "language.yaml")


AGREEMENT = ["accuracy", *PHENOMENA]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "kind", "name"), [("llama", "causal", "bits_per_byte"), ("bert", "masked", "pseudo_bits_per_byte")]
)
def test_a_training_loop_gets_figures_of_a_live_language_model(family: str, kind: str, name: str, language_suite):
    encoder = TransformerEncoder(model(family), tiny_tokenizer(), max_tokens=language_suite.max_tokens)
    scorer = live_scorer(kind, model(family), tiny_tokenizer())
    values = dict(named_values(encoder, language_suite, scorer))
    assert list(values) == ["eval/pairs/spearman", f"eval/text/{name}", *(f"eval/agreement/{n}" for n in AGREEMENT)]
    figures = dict(run_suite(encoder, language_suite, scorer=scorer))
    assert values[f"eval/text/{name}"] == pytest.approx(figures["text"][name].mean)
    assert list(dict(named_values(encoder, language_suite))) == ["eval/pairs/spearman"]  # without a head


@pytest.mark.slow
def test_baselines_of_a_language_model(language_suite, tmp_path):
    folder = save_model(tmp_path / "model", "llama")
    baselines = dict(run_baselines(folder, language_suite, progress=False))
    found = {name: {task: list(figures) for task, figures in tasks.items()} for name, tasks in baselines.items()}
    assert found["chance"]["agreement"] == AGREEMENT
    assert found["random_init"] == {"pairs": ["spearman"], "text": ["bits_per_byte"], "agreement": AGREEMENT}
    assert all("text" not in found[name] and "agreement" not in found[name] for name in ("tfidf", "random_words"))
    untrained = baselines["random_init"]["text"]["bits_per_byte"]
    assert untrained.interval == "initialisations" and untrained.high > untrained.mean > 1
    alone = replace(language_suite, tasks=language_suite.tasks[1:])
    assert list(dict(run_baselines(folder, alone, progress=False))) == ["chance", "random_init"]
