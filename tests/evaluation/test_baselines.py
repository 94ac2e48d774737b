from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.folders import topics
from textssl.errors import UserError
from textssl.evaluation.baselines import Tfidf, majority


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
    with pytest.raises(UserError, match="no word"):
        encoder.fit(["?", "!"])


def test_majority_takes_the_training_class():
    figure = majority(np.array([0, 1, 1]), np.array([0, 0, 0, 1]))
    assert (figure.mean, figure.train_examples, figure.test_examples) == (0.25, 3, 4)
