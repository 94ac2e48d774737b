"""Spans of many documents at once are those of each document by itself, to the token."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from textssl.data.keyed_random import first_words, generator
from textssl.sample_types import SENTENCE_START, WORD_START
from textssl.views.crops import two_spans
from textssl.views.many_crops import ManyNumbers, many_spans


@dataclass
class Listed:
    """Documents by their marks, each with the stream of its number."""

    each: list[np.ndarray]

    @property
    def lengths(self):
        return np.array([len(marks) for marks in self.each], np.int64)

    def words(self, count):
        ids = np.stack([np.arange(len(self.each)), np.zeros_like(self.lengths), np.ones_like(self.lengths)], axis=1)
        return first_words(7, 2, ids, count)

    def marks(self, places):
        inside = (places >= 0) & (places < self.lengths[:, None])
        return np.array(
            [
                [marks[place] if allowed else 0 for place, allowed in zip(row, allow, strict=True)]
                for marks, row, allow in zip(self.each, places, inside, strict=True)
            ],
            np.uint8,
        ).reshape(places.shape)

    def all_marks(self, number):
        return self.each[number]


def documents(seed, count=250, longest=120) -> Any:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        length, share = int(rng.integers(1, longest)), rng.choice([0.0, 0.02, 0.2, 0.7, 1.0])
        marks = np.where(rng.random(length) < share, WORD_START, 0).astype(np.uint8)
        marks[rng.random(length) < 0.1] |= SENTENCE_START
        made.append(marks)
    return Listed([*made, *(np.zeros(length, np.uint8) for length in (1, 1, 2, 3))])


@pytest.mark.parametrize("lengths", [(1, 1), (1, 12), (8, 24), (16, 64), (90, 200)])
@pytest.mark.parametrize("overlap, max_gap", [("any", None), ("disjoint", None), ("disjoint", 0), ("disjoint", 9)])
def test_they_are_those_of_each_document(lengths, overlap, max_gap):
    listed, (least, most) = documents(seed=sum(lengths)), lengths
    spans, unread = many_spans(listed, least, most, overlap, max_gap)
    assert not len(unread)
    for number, marks in enumerate(listed.each):
        expected = two_spans(marks, least, most, overlap, generator(7, 2, number, 0, 1), max_gap)
        assert spans[number].tolist() == [list(span) for span in expected], number


def test_no_documents_give_no_spans():
    nothing: Any = Listed([])
    spans, unread = many_spans(nothing, 8, 24, "disjoint", 5)
    assert spans.shape == (0, 2, 2) and not len(unread)


def test_a_draw_that_may_be_rejected_is_named():
    words = np.zeros((3, 6), np.uint64)
    words[1:, 2] = 2**31 + 5
    draws = ManyNumbers(words)  # of the first stream: the lowest product there is, below its excess
    assert draws.integer(np.zeros(3, np.int64), np.array([9, 9, 0])).tolist() == [0, 5, 0]
    assert draws.unread.tolist() == [0] and draws.used.tolist() == [1, 1, 0]
