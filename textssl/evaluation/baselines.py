"""What to beat: always the most frequent class, words counted (TF-IDF), the same model untrained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from textssl.errors import UserError
from textssl.evaluation.figure import Figure, over_examples


class Tfidf:
    """Unit rows of TF-IDF weights of words and pairs of words, in the place of an encoder.

    Words are weighed on the training texts (without labels); a word that stands in one text only is left out. It reads
    whole texts, where a model reads as much as it can take.
    """

    def __init__(self) -> None:
        self.vectorizer: TfidfVectorizer | None = None

    def fit(self, texts: Sequence[str]) -> None:
        """Learn words and weights. Raises UserError where the texts hold no word."""
        for min_df in (2, 1):  # a handful of texts may share no word
            self.vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=min_df, dtype=np.float32)  # type: ignore[arg-type]
            try:
                self.vectorizer.fit(texts)
                return
            except ValueError:
                continue
        raise UserError("the training texts hold no word of two letters or more: TF-IDF has nothing to count")

    def embed(self, texts: Sequence[str], *, progress: str | None = None) -> Any:
        """(texts, words) sparse float32, rows of length 1 (or 0 for a text without a known word)."""
        assert self.vectorizer is not None, "fit first"
        return self.vectorizer.transform(texts)


def majority(train_labels: np.ndarray, test_labels: np.ndarray, *, seed: int = 0) -> Figure:
    """Always the most frequent class of all training examples."""
    predicted = np.full_like(test_labels, np.bincount(train_labels).argmax())
    accuracy, f1 = over_examples(test_labels, predicted, seed)
    examples = (len(train_labels), len(test_labels))
    return Figure(accuracy.mean, accuracy.low, accuracy.high, "test examples", 1, *examples, [accuracy.mean], f1, {})
