"""What to beat: an answer that reads nothing, words counted (TF-IDF), words as random vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from textssl.errors import UserError
from textssl.evaluation.figure import Accuracy, trained_once

RANDOM_WIDTH = 300
LSA_WIDTH = 50


class Tfidf:
    """Unit rows of TF-IDF weights of words, in the place of an encoder.

    Words are weighed on the texts it is fitted on (without labels). It reads whole texts, where a model reads as much
    as it can take. phrases: also pairs of neighbouring words, which help a classifier. rare_words: also words that
    stand in one text only; a classifier cannot use them, but where texts are compared with each other, a name that
    stands in one document finds it.
    """

    def __init__(self, *, phrases: bool = True, rare_words: bool = False) -> None:
        self.longest = 2 if phrases else 1
        self.rarest = (1,) if rare_words else (2, 1)  # a handful of texts may share no word
        self.vectorizer: TfidfVectorizer | None = None

    def fit(self, texts: Sequence[str]) -> None:
        """Learn words and weights. Raises UserError where the texts hold no word."""
        for min_df in self.rarest:
            self.vectorizer = TfidfVectorizer(
                sublinear_tf=True,
                ngram_range=(1, self.longest),
                min_df=min_df,
                dtype=np.float32,  # type: ignore[arg-type]
            )
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


class RandomWords:
    """A text is the sum of random vectors of its words, scaled to length 1, in the place of an encoder.

    What words alone are worth, without any learning: a word's vector follows from the word and the seed, whatever
    other words there are.
    """

    def __init__(self, *, seed: int = 0, width: int = RANDOM_WIDTH) -> None:
        self.seed, self.width = seed, width

    def fit(self, texts: Sequence[str]) -> None:
        """Nothing: it learns nothing."""

    def embed(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        """(texts, width) float32; a text without a word is a row of zeros."""
        counter = CountVectorizer(token_pattern=r"(?u)\b\w+\b", dtype=np.float32)  # type: ignore[arg-type]
        try:
            counts = counter.fit_transform(texts)
        except ValueError:  # not one word in all of them
            return np.zeros((len(texts), self.width), dtype=np.float32)
        table = np.stack([self._vector(word) for word in counter.get_feature_names_out()])
        sums = counts @ table
        return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

    def _vector(self, word: str) -> np.ndarray:
        key = int.from_bytes(
            hashlib.sha256(f"{self.seed} {word}".encode("utf-8", "surrogatepass")).digest()[:16], "big"
        )
        return np.random.Generator(np.random.Philox(key=key)).standard_normal(self.width, dtype=np.float32)


def lsa(features: Any, seed: int, width: int = LSA_WIDTH) -> np.ndarray:
    """Sparse TF-IDF rows as unit rows of their leading singular directions (latent semantic analysis)."""
    width = min(width, *(size - 1 for size in features.shape))
    if width < 1:
        return features.toarray()
    reduced = TruncatedSVD(width, random_state=seed % 2**32).fit_transform(features)
    return reduced / np.maximum(np.linalg.norm(reduced, axis=1, keepdims=True), 1e-12)


def majority(train_labels: np.ndarray, test_labels: np.ndarray, *, seed: int = 0) -> Accuracy:
    """Always the most frequent class of all training examples."""
    predicted = np.full_like(test_labels, np.bincount(train_labels).argmax())
    return trained_once(test_labels, predicted, len(train_labels), seed)
