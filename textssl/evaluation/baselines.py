"""Baselines: the majority class, TF-IDF of words or n-grams, and random word vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from textssl.evaluation.figures.figure import Accuracy, trained_once
from textssl.evaluation.terms import Terms, best_tfidf, count_terms, script_tfidf, terms_of_script

RANDOM_WIDTH = 300
LSA_WIDTH = 50
TERMS_AT_ONCE = 20_000


class Tfidf:
    """Unit rows of TF-IDF weights of words or character n-grams, in place of an encoder.

    The weights come from the texts it is fitted on. It reads whole texts, where a model reads as much as it can take.
    phrases: also pairs of neighbouring words, which help a classifier. rare_words: also words of one text only; a
    classifier cannot use them, but where texts are compared with each other, a name in one document alone finds it.
    terms: what is counted, None before `fit`.
    """

    def __init__(self, *, phrases: bool = True, rare_words: bool = False, seed: int = 0) -> None:
        self.phrases, self.rare_words, self.seed = phrases, rare_words, seed
        self.terms: Terms | None = None
        self.vectorizer: TfidfVectorizer | None = None

    def fit(self, texts: Sequence[str], labels: np.ndarray | None = None) -> None:
        """Learn terms and weights: with (texts,) class numbers the better kind (`best_tfidf`), else that of the script.

        Raises UserError where the texts hold nothing to count.
        """
        options: dict[str, bool] = {"phrases": self.phrases, "rare": self.rare_words}
        if labels is None:
            self.terms, self.vectorizer = script_tfidf(texts, **options)
        else:
            self.terms, self.vectorizer = best_tfidf((texts, None), labels, **options, seed=self.seed)

    def embed(self, texts: Sequence[str], *, progress: str | None = None) -> Any:
        """(texts, terms) sparse float32, rows of length 1 (or 0 for a text without a known term)."""
        assert self.vectorizer is not None, "fit first"
        return self.vectorizer.transform(texts)


class RandomWords:
    """A text is the sum of random vectors of its words, scaled to length 1, in place of an encoder.

    It shows what words alone are worth, without any learning: a word's vector follows from the word and the seed,
    whatever other words there are. In scripts that do not divide words, character n-grams stand for them
    (`terms_of_script` of the texts that it is fitted on, or of the first that it embeds).
    """

    def __init__(self, *, seed: int = 0, width: int = RANDOM_WIDTH) -> None:
        self.seed, self.width = seed, width
        self.terms: Terms | None = None

    def fit(self, texts: Sequence[str], labels: np.ndarray | None = None) -> None:
        """Choose words or n-grams by the script of the texts; nothing is learned."""
        self.terms = terms_of_script(texts)[0]

    def embed(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        """(texts, width) float32; a text without a word is a row of zeros."""
        if self.terms is None:
            self.fit(texts)
        assert self.terms is not None
        counts, names = count_terms(self.terms, texts)
        sums = np.zeros((len(texts), self.width), dtype=np.float32)
        columns = counts.tocsc()
        for start in range(0, len(names), TERMS_AT_ONCE):  # n-grams are many, so vectors are not kept
            part = slice(start, start + TERMS_AT_ONCE)
            sums += columns[:, part] @ np.stack([self._vector(name) for name in names[part]])
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
