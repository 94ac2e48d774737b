"""What stands beside a fine-tuned model: constants by hand, TF-IDF on texts and pairs, its penalty by folds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from tests.evaluation.folders import topics
from textssl.evaluation.baselines import Tfidf, lsa
from textssl.evaluation.figures.probe import INVERSE_PENALTIES, choose_penalty
from textssl.evaluation.labelled_baselines import constant, fit_logistic, linear, tfidf
from textssl.evaluation.tasks.clustering import gaussian_mixture, k_means
from textssl.evaluation.terms import tfidf_rows


def labelled_topics(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    texts, names = topics(count, seed)
    return texts, np.array([sorted(set(names)).index(name) for name in names])


def test_a_constant_is_the_shares_of_the_classes_or_the_mean_score():
    found = constant(np.array([2.0, 0.0, 2.0, 2.0]), 4, 3)
    assert found.tolist() == [[0.25, 0.0, 0.75, 0.0]] * 3
    assert constant(np.array([1.0, 2.0, 6.0]), 0, 2).tolist() == [3.0, 3.0]


@pytest.mark.slow
def test_words_tell_topics_apart():
    texts, labels = labelled_topics(150)
    test, truth = labelled_topics(60, seed=1)
    found, terms = tfidf((texts, None), labels, (test, None), 3, seed=0)
    assert terms in ("words", "characters 3-5")
    assert found.shape == (60, 3) and found.sum(1) == pytest.approx(np.ones(60))
    assert (found.argmax(1) == truth).mean() > 0.75
    assert np.array_equal(found, tfidf((texts, None), labels, (test, None), 3, seed=0)[0])
    shuffled = np.random.default_rng(0).permutation(labels)
    assert (tfidf((texts, None), shuffled, (test, None), 3, seed=0)[0].argmax(1) == truth).mean() < 0.6


@pytest.mark.parametrize("scores", [False, True])
def test_pairs_are_compared_by_their_words(scores):
    texts, labels = labelled_topics(300)
    others = [(5 * place + 1) % 300 for place in range(300)]
    same = labels == labels[others]  # a third of the pairs
    second = [
        texts[place] if alike else texts[other] for place, (alike, other) in enumerate(zip(same, others, strict=True))
    ]
    targets = np.where(same, 5.0, 1.0) if scores else same.astype(float)
    train, test = (texts[:200], second[:200]), (texts[200:], second[200:])
    found, _ = tfidf(train, targets[:200], test, 0 if scores else 2, seed=0)
    if scores:
        assert found.shape == (100,) and np.corrcoef(found, targets[200:])[0, 1] > 0.8
    else:
        assert found.shape == (100, 2) and (found.argmax(1) == same[200:]).mean() > 0.9


def test_features_of_a_pair_are_its_difference_beside_its_product():
    counter = Tfidf()
    counter.fit(["red boat", "red fish", "blue fish"])
    left, right = counter.embed(["red boat"]).toarray(), counter.embed(["blue fish red"]).toarray()
    assert counter.vectorizer is not None
    found = tfidf_rows(counter.vectorizer, (["red boat"], ["blue fish red"])).toarray()
    np.testing.assert_allclose(found, np.hstack([abs(left - right), left * right]), atol=1e-7)
    turned = tfidf_rows(counter.vectorizer, (["blue fish red"], ["red boat"])).toarray()
    np.testing.assert_allclose(turned, found)
    np.testing.assert_array_equal(tfidf_rows(counter.vectorizer, (["red boat"], None)).toarray(), left)


def test_ridge_follows_a_line_and_its_penalty_follows_the_noise():
    rng = np.random.default_rng(0)
    train, test, weight = rng.normal(size=(60, 5)), rng.normal(size=(20, 5)), np.arange(5.0)
    np.testing.assert_allclose(linear(train, train @ weight + 2, test, 0, seed=0), test @ weight + 2, atol=0.05)
    noise = linear(train, rng.normal(size=60), test, 0, seed=0)
    assert np.std(noise) < 0.5, "nothing to learn: a strong penalty is chosen"
    assert len(linear(train[:3], np.array([1.0, 2.0, 3.0]), test, 0, seed=0)) == 20


def test_the_penalty_is_chosen_where_classes_have_two_examples_and_is_1_where_not():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 6)) + 4 * np.eye(6)[np.arange(40) % 2]
    labels = np.arange(40) % 2
    labels[:6] = 1 - labels[:6]  # wrong labels, so that much trust in them is punished
    assert fit_logistic(rows, labels, seed=0).C != 1.0
    assert fit_logistic(rows[:5], np.array([0, 1, 0, 1, 2]), seed=0).C == 1.0
    model = fit_logistic(rows[:4], np.array([0, 1, 0, 1]), seed=0)
    assert list(model.classes_) == [0, 1] and list(model.predict(rows[:4])) == [0, 1, 0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32, 2**63 - 1])
def test_every_seed_of_a_run_is_one_for_scikit_learn(seed):
    rng = np.random.default_rng(0)
    rows, labels = rng.standard_normal((20, 3)), np.arange(20) % 2
    assert linear(rows, labels.astype(float), rows, 0, seed).shape == (20,)
    assert linear(rows, labels, rows, 2, seed).shape == (20, 2)
    assert k_means(rows, 2, seed).shape == gaussian_mixture(rows, 2, seed).shape == (20,)
    assert choose_penalty(rows, labels, seed) in INVERSE_PENALTIES
    assert lsa(sparse.csr_matrix(rows), seed, 2).shape == (20, 2)
