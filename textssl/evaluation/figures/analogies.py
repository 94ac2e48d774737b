"""Word analogies: king - man + woman is nearest to queen (arXiv:1301.3781, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Analogies(NamedTuple):
    """Shares of the questions that are answered correctly, among the words of all questions.

    without_query_words: where the three words of a question cannot be its answer, as is usual. with_query_words: where
    they can; one of them is often the nearest (arXiv:1905.09866). sections: the first share for each kind of question.
    """

    questions: int
    words: int
    without_query_words: float
    with_query_words: float
    sections: dict[str, float]


def solve(vectors: np.ndarray, places: np.ndarray, *, exclude: bool) -> np.ndarray:
    """(questions,) the word nearest to b - a + c by cosine. vectors: (words, width), of length 1. places: (questions,
    3 or more) the words a, b, c of each question. exclude: none of the three is an answer."""
    answers = []
    for part in np.array_split(places, max(1, len(places) // 1024)):
        a, b, c = part[:, 0], part[:, 1], part[:, 2]
        wanted = vectors[b] - vectors[a] + vectors[c]
        cosines = wanted @ vectors.T  # the length of `wanted` does not change the order
        if exclude:
            for one in (a, b, c):
                cosines[np.arange(len(part)), one] = -np.inf
        answers.append(cosines.argmax(1))
    return np.concatenate(answers)


def analogies(embed: Any, questions: Sequence[dict[str, str]]) -> Analogies:
    """Answer analogies. embed: texts -> (texts, width) rows of length 1. questions: words a, b, c, d and a section."""
    words = sorted({question[key] for question in questions for key in "abcd"})
    numbers = {word: place for place, word in enumerate(words)}
    places = np.array([[numbers[question[key]] for key in "abcd"] for question in questions])
    vectors = np.asarray(embed(words), dtype=np.float32)
    right = solve(vectors, places, exclude=True) == places[:, 3]
    free = solve(vectors, places, exclude=False) == places[:, 3]
    sections = np.array([question["section"] for question in questions])
    return Analogies(
        questions=len(questions),
        words=len(words),
        without_query_words=float(right.mean()),
        with_query_words=float(free.mean()),
        sections={name: float(right[sections == name].mean()) for name in dict.fromkeys(sections.tolist())},
    )
