from __future__ import annotations

import pytest

from tests.evaluation.folders import topics
from tests.evaluation.tasks.test_classification import write_labelled
from textssl.errors import UserError
from textssl.evaluation.suite import KINDS, Suite, full, load_suite, quick
from textssl.evaluation.tasks.lm_eval_task import LmEval
from textssl.inference.language.scorer import Scorer


@pytest.fixture
def suite(tmp_path):
    write_labelled(tmp_path / "topics.csv", *topics(200))
    (tmp_path / "own.yaml").write_text(
        "tasks:\n- {name: mine, path: topics.csv, kind: classification, max_test: 40}\n"
        "max_tokens: 32\ndraws: 3\nshots: [4]\ninitialisations: 2\n"
    )
    return load_suite(tmp_path / "own.yaml")


def test_own_file(suite, tmp_path):
    assert (suite.name, suite.max_tokens, suite.draws, suite.initialisations) == ("own", 32, 3, 2)
    assert suite.facts()["mine"]["test_examples"] == 40
    assert suite.facts()["mine"]["source"] == str(tmp_path / "topics.csv")


def test_every_kind_in_a_file_with_its_own_options_and_the_shared_seed(tmp_path):
    (tmp_path / "own.yaml").write_text(
        "seed: 7\nshots: [4]\ntasks:\n"
        "- {name: a, path: a.csv}\n"
        "- {name: b, path: b.csv, kind: similarity, max_pairs: 5}\n"
        "- {name: c, path: 'sample:wordsim', kind: word_similarity}\n"
        "- {name: d, path: d.csv, kind: clustering, starts: 2}\n"
        "- {name: e, path: e.csv, kind: retrieval, query: question, document: answer}\n"
        "- {name: f, path: f.csv, kind: geometry, query: question, document: answer, max_documents: 9, seed: 1}\n"
        "- {name: g, path: g.txt, kind: language, max_bytes: 900, domain: in}\n"
        "- {name: h, kind: minimal_pairs}\n"
        "- {name: i, kind: lm_eval, path: harness, tasks: [blimp], limit: 5}\n"
    )
    tasks = load_suite(tmp_path / "own.yaml").tasks
    a, b, c, d, e, f, g, h, i = tasks
    assert [task.kind for task in tasks] == list(KINDS)
    assert [task.seed for task in tasks] == [7, 7, 7, 7, 7, 1, 7, 7, 7]
    assert (g.path, g.limits["causal"], g.domain) == (str(tmp_path / "g.txt"), 900, "in")
    assert h.path is None and h.hide_rest
    assert (i.path, i.tasks, i.limit) == (str(tmp_path / "harness"), ["blimp"], 5)
    assert a.shots == (4,) and b.max_pairs == 5 and d.starts == 2 and f.max_documents == 9
    assert (e.query, e.document, e.path, c.path) == ("question", "answer", str(tmp_path / "e.csv"), "sample:wordsim")


def test_named_suites_are_known_without_reading_anything():
    assert [task.name for task in load_suite("quick").tasks] == [
        *("bbc", "trec", "sms", "movies", "sts", "wordsim", "bbc-clustering", "news-retrieval", "news-geometry"),
        *("bbc-text", "agreement"),
    ]
    names = [task.name for task in load_suite("full").tasks]
    assert {"newsgroups", "newsgroups-clustering", "sts"} <= set(names) and len(set(names)) == 15
    assert quick().max_tokens < full().max_tokens and quick().draws >= 10
    caps = ("max_test", "max_texts", "max_documents")
    assert not any(getattr(task, cap, None) for task in full().tasks for cap in caps)
    uncapped = {"similarity", "word_similarity", "language", "minimal_pairs"}
    assert all(any(getattr(task, cap, None) for cap in caps) for task in quick().tasks if task.kind not in uncapped)
    text = {suite.name: next(task for task in suite.tasks if task.name == "bbc-text") for suite in (quick(), full())}
    assert text["quick"].limits["causal"] < text["full"].limits["causal"]
    assert text["quick"].limits["masked"] < text["full"].limits["masked"]
    tuned = {task.name: task.tuned for task in load_suite("tuned").tasks}
    assert tuned == dict.fromkeys(("bbc", "trec", "sms", "movies"), ("finetune_all", "finetune_8", "contrast_8"))


def test_tasks_that_a_model_cannot_do_are_left_out_with_the_reason():
    suite, left_out = quick().suited(None)
    assert left_out == dict.fromkeys(("bbc-text", "agreement"), "the model has no causal or masked language-model head")
    assert [task.name for task in suite.tasks] == [task.name for task in quick().tasks if task.name not in left_out]
    assert suite.max_tokens == quick().max_tokens
    whole, nothing = quick().suited(Scorer("masked", lambda: pytest.fail("no weights are needed to know")))
    assert len(whole.tasks) == len(quick().tasks) and not nothing
    harness = Suite("own", [LmEval("blimp", ["blimp"])])
    assert not harness.suited(Scorer("causal", lambda: pytest.fail("nor here")))[1]
    reason = {"blimp": "lm_eval is for causal models, this one is masked"}
    assert harness.suited(Scorer("masked", lambda: pytest.fail("nor here")))[1] == reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "tasks: [{name: a, path: b.csv, kind: regression}]",
            "tasks.0.kind is 'regression'; there is classification, similarity, word_similarity, clustering",
        ),
        ("tasks: [{name: a, path: b.csv, kind: retrieval, querry: x}]", "unknown key tasks.0.querry.*query"),
        ("tasks: [{name: a, path: b.csv, kind: clustering, starts: 0}]", "tasks.0.starts is 0, it must be at least 1"),
        ("tasks: [{name: a, path: b.csv, kind: geometry, max_documents: 0}]", "tasks.0.max_documents is 0"),
        (
            "tasks: [{name: a, path: b.txt, kind: language, domain: near}]",
            "tasks.0.domain: input should be 'in' or 'out'",
        ),
        ("tasks: [{name: a, path: b.txt, kind: language, max_bytes: 0}]", "tasks.0.max_bytes is 0"),
        ("tasks: [{name: a, kind: minimal_pairs, hide: true}]", "unknown key tasks.0.hide.*hide_rest"),
        ("tasks: [{name: a, kind: lm_eval, tasks: []}]", r"a: tasks is \[\], it must be at least one"),
        ("tasks: [{name: a, kind: similarity}]", "tasks.0.path is missing"),
        ("tasks: [{name: a, pth: b.csv}]", "pth.*path"),
        ("tasks: [{name: a, path: b.csv}]\ndrws: 3", "drws.*draws"),
        ("tasks: [{name: a, path: b.csv}, {name: a, path: c.csv}]", "two tasks have the same name"),
        ("tasks: []", "names no task"),
        ("draws: 0\ntasks: [{name: a, path: b.csv}]", "draws is 0"),
        ("seed: -1\ntasks: [{name: a, path: b.csv}]", "seed is -1, it must be from 0"),
        ("tasks: [{name: a, path: b.csv, draws: 0}]", "tasks.0.draws is 0, it must be at least 1"),
        ("tasks: [{name: a, path: b.csv, shots: [8, -3]}]", "tasks.0.shots is -3, it must be at least 1"),
        ("tasks: [{name: a, path: b.csv, shots: [0]}]", "tasks.0.shots is 0, it must be at least 1"),
        ("tasks: [{name: a, path: b.csv, seed: 4294967296}]", "tasks.0.seed is 4294967296, it must be from 0"),
        ("just words", "must hold tasks"),
        ("tasks: [", "is not valid YAML"),
        ("tasks: [{name: a, path: b.csv, kind: [language]}]", r"tasks.0.kind is \['language'\]; there is"),
    ],
)
def test_mistakes_in_a_suite_file(content: str, message: str, tmp_path):
    (tmp_path / "s.yaml").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        load_suite(tmp_path / "s.yaml")
    assert str(tmp_path / "s.yaml") in str(caught.value) and "the configuration" not in str(caught.value)


def test_unknown_suites():
    with pytest.raises(UserError, match="must be quick, full, tuned or a YAML file"):
        load_suite("fast")
    with pytest.raises(UserError, match="there is no suite file"):
        load_suite("nowhere.yaml")
