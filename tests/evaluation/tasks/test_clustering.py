from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import v_measure_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import normalize

from tests.evaluation.folders import blobs, model, topics
from tests.evaluation.tasks.test_classification import write_labelled
from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.evaluation.baselines import Tfidf
from textssl.evaluation.tasks.classification import Classification
from textssl.evaluation.tasks.clustering import Clustering, clusters_of, gaussian_mixture
from textssl.inference.features import TransformerEncoder


def test_figure_is_that_of_scikit_learn_on_the_features(tmp_path):
    task = Clustering("topics", write_labelled(tmp_path / "t.csv", *topics(60)), starts=3, seed=5)
    texts, classes, labels = task.examples
    encoder = TransformerEncoder(model("modernbert"), tiny_tokenizer())
    figure = dict(task.run(encoder))["v_measure"]
    features = encoder.embed(texts)
    expected = [
        v_measure_score(labels, KMeans(3, n_init=1, random_state=seed).fit(features).labels_)  # type: ignore[arg-type]
        for seed in (5, 6, 7)
    ]
    assert figure.scores == pytest.approx(expected) and figure.mean == pytest.approx(np.mean(expected))
    assert (figure.interval, figure.test_examples, classes) == ("starts", 60, ["kitchen", "music", "sea"])


def test_word_counts_find_the_topics_and_chance_does_not(tmp_path):
    task = Clustering("topics", write_labelled(tmp_path / "t.csv", *topics(200, noise=0.2)))
    counted = dict(task.run(Tfidf(phrases=False)))["v_measure"]
    chance = dict(task.run_floor())["v_measure"]
    assert counted.low > chance.high and chance.mean < 0.05 and len(chance.scores) == 10


def test_mixture_is_that_of_scikit_learn_on_the_singular_directions(tmp_path):
    task = Clustering("topics", write_labelled(tmp_path / "t.csv", *topics(200, noise=0.6)), starts=2)
    texts, _, labels = task.examples
    figure = dict(task.run_mixture(Tfidf(phrases=False)))["v_measure"]
    counted: Any = TfidfVectorizer(sublinear_tf=True, min_df=2, dtype=np.float32).fit_transform(texts)  # type: ignore
    reduced = normalize(TruncatedSVD(min(50, counted.shape[1] - 1), random_state=0).fit_transform(counted))
    found = [GaussianMixture(3, covariance_type="diag", random_state=seed).fit_predict(reduced) for seed in (0, 1)]
    assert figure.scores == pytest.approx([v_measure_score(labels, clusters) for clusters in found], abs=0.02)
    assert 0.1 < figure.mean < 1


def test_clear_and_collapsed_groups():
    features, labels = blobs(90, 3, 16, 0.05)
    assert v_measure_score(labels, clusters_of(features, 3, seed=0)) == pytest.approx(1)
    assert v_measure_score(labels, clusters_of(np.ones((90, 16)), 3, seed=0)) == 0
    assert v_measure_score(labels, clusters_of(features, 3, 0, gaussian_mixture)) == pytest.approx(1)
    assert v_measure_score(labels, clusters_of(np.ones((90, 16)), 3, 0, gaussian_mixture)) == pytest.approx(0)


def test_capped_texts_are_the_test_texts_of_the_classification_task(tmp_path):
    """So that features are computed once for both."""
    texts, labels = topics(200)
    path = write_labelled(tmp_path / "t.csv", [*texts, *texts[:5], ""], [*labels, *labels[:4], "other", "sea"])
    clustering = Clustering("c", path, max_texts=30)
    assert clustering.examples[0] == Classification("t", path, max_test=30).split.test_texts
    facts = clustering.facts()
    assert (facts["texts"], facts["distinct_texts"], facts["duplicates_dropped"]) == (30, 200, 5)
    assert facts["classes"] == ["kitchen", "music", "sea"]
    assert facts["conflicting_labels"] == 1 and facts["dropped"] == {"empty text": 1}


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "text_a,text_b,score\na,b,1\nc,d,2\n",
            {},
            "holds pairs or scores; clustering needs the columns text and label",
        ),
        ("text,label\na,1\nb,2\nc,3\n", {}, "c: 3 texts of 3 classes in .*t.csv; clustering needs more texts"),
        ("text,label\na,x\nb,y\nc,x\nd,x\n", {"max_texts": 1}, "c: all 1 texts of .*t.csv have one class"),
        ("text,label\na,x\nb,x\n", {}, "t.csv: all 2 records have the label 'x'"),
    ],
)
def test_sets_that_cannot_be_clustered(content: str, options: dict, message: str, tmp_path):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        Clustering("c", str(tmp_path / "t.csv"), **options).facts()
