from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.folders import topics
from tests.evaluation.test_terms import CHINESE, inflected
from textssl.errors import UserError
from textssl.evaluation import baselines
from textssl.evaluation.baselines import RandomWords, Tfidf, lsa, majority
from textssl.evaluation.terms import LONG, SHORT


def test_tfidf_learns_from_the_texts_it_is_fitted_on_alone():
    texts, _ = topics(60)
    encoder = Tfidf()
    encoder.fit(texts)
    rows = encoder.embed(["wave wave boat", "an unknown word"])
    assert rows.dtype == np.float32
    assert np.asarray(rows.multiply(rows).sum(1)).ravel() == pytest.approx([1, 0], abs=1e-5)


def test_texts_that_share_no_word_and_texts_without_words():
    encoder = Tfidf()
    encoder.fit(["one two", "three four"])
    assert encoder.embed(["one four"]).nnz == 2
    encoder.fit(["?", "!"])
    assert encoder.terms is not None and encoder.terms.name == "characters 3-5"
    with pytest.raises(UserError, match="nothing but spaces"):
        encoder.fit([" ", ""])


def test_labels_choose_what_tfidf_counts_and_the_script_does_without():
    texts, labels = inflected(60, seed=0)
    encoder = Tfidf()
    encoder.fit(texts, labels)
    assert encoder.terms == LONG
    encoder.fit(texts)
    assert encoder.terms is not None and encoder.terms.name == "words"


def test_majority_takes_the_training_class():
    figure = majority(np.array([0, 1, 1]), np.array([0, 0, 0, 1]))
    assert (figure.mean, figure.train_examples, figure.test_examples) == (0.25, 3, 4)


def test_pair_and_rare_words_are_a_choice():
    texts = ["red apple", "red pear", "red apple"]
    sizes = {}
    for phrases in (True, False):
        for rare_words in (True, False):
            encoder = Tfidf(phrases=phrases, rare_words=rare_words)
            encoder.fit(texts)
            sizes[phrases, rare_words] = encoder.embed(texts).shape[1]
    assert sizes == {(True, True): 5, (True, False): 3, (False, True): 3, (False, False): 2}


def test_random_words_are_a_function_of_word_and_seed():
    texts, _ = topics(30)
    whole = RandomWords(seed=1).embed(texts)
    assert whole.dtype == np.float32 and np.linalg.norm(whole, axis=1) == pytest.approx(1)
    assert RandomWords(seed=1).embed(texts[7:9]) == pytest.approx(whole[7:9], abs=1e-6)
    assert np.abs(RandomWords(seed=2).embed(texts) - whole).max() > 0.1
    sea, pan, both, neither = RandomWords().embed(["sea", "pan", "Sea, pan", "?"]).astype(np.float64)
    assert abs(sea @ pan) < 0.2 and both @ sea > 0.5 and both @ pan > 0.5
    assert not neither.any() and not RandomWords().embed(["?", "!"]).any()


def test_random_vectors_stand_for_characters_where_nothing_divides_words(monkeypatch):
    encoder = RandomWords()
    encoder.fit(CHINESE)
    assert encoder.terms == SHORT
    rows = encoder.embed([*CHINESE, "海边的船", "a"]).astype(np.float64)
    assert (rows[3] @ rows[:3].T).argmax() == 0 and rows[3] @ rows[0] > 0.2
    monkeypatch.setattr(baselines, "TERMS_AT_ONCE", 7)
    assert encoder.embed([*CHINESE, "海边的船", "a"]) == pytest.approx(rows, abs=1e-6)


def test_lsa_keeps_the_products_of_rows_where_it_keeps_all_directions():
    texts, _ = topics(20)
    encoder = Tfidf(phrases=False)
    encoder.fit(texts)
    rows = encoder.embed(texts)
    reduced = lsa(rows, seed=0, width=19)
    assert np.linalg.norm(reduced, axis=1) == pytest.approx(1)
    assert reduced @ reduced.T == pytest.approx((rows @ rows.T).toarray(), abs=0.1)
    assert lsa(rows, seed=0, width=3).shape == (20, 3)
    assert lsa(rows[:1], seed=0).shape == rows[:1].shape  # nothing to decompose
