"""Segments of a document: neighbouring sentences, spans whose lengths tell nothing of the order."""

import itertools

import numpy as np
import pytest

from textssl.sample_types import SENTENCE_START, WORD_START
from textssl.views.segments import near_start, next_sentences, scattered, shuffled


def marks_of(tokens, sentences=(), words=None):
    marks = np.zeros(tokens, np.uint8)
    marks[list(range(tokens) if words is None else words)] |= WORD_START
    marks[list(sentences)] |= SENTENCE_START
    return marks


def test_sentences_follow_each_other_from_every_place():
    marks, rng = marks_of(20, [0, 3, 8, 12]), np.random.default_rng(0)
    found = {tuple(next_sentences(marks, 2, 100, rng)) for _ in range(100)}
    assert found == {((0, 3), (3, 8)), ((3, 8), (8, 12)), ((8, 12), (12, 20))}
    assert next_sentences(marks, 9, 4, rng) == [(0, 3), (3, 7), (8, 12), (12, 16)]
    assert next_sentences(marks_of(5), 3, 100, rng) == [(0, 5)], "a document without marks is a sentence"


@pytest.mark.parametrize("tokens", [6, 7, 20, 200])
def test_spans_are_disjoint_in_order_and_inside(tokens):
    rng = np.random.default_rng(tokens)
    for _ in range(200):
        spans = scattered(marks_of(tokens, range(0, tokens, 9)), 3, 4, 16, rng)
        assert spans is not None and len(spans) == 3
        assert spans[0][0] >= 0 and spans[-1][1] <= tokens
        assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))
        assert all(1 <= end - begin <= 16 for begin, end in spans)
    assert scattered(marks_of(5), 3, 4, 16, rng) is None


def test_lengths_tell_nothing_of_the_place():
    rng, marks = np.random.default_rng(0), marks_of(400, range(0, 400, 17))
    lengths = np.array([[end - begin for begin, end in scattered(marks, 3, 4, 16, rng) or []] for _ in range(3000)])
    assert np.abs(lengths.mean(0) - lengths.mean()).max() < 0.3 and lengths.std() > 3


def test_spans_lie_everywhere_and_begin_at_sentences_where_some_are_near():
    rng, marks = np.random.default_rng(0), marks_of(300, range(0, 300, 6))
    spans = [scattered(marks, 2, 8, 16, rng) or [] for _ in range(2000)]
    starts = np.array([[begin for begin, _ in pair] for pair in spans])
    assert starts[:, 0].min() < 5 and starts[:, 1].max() > 280
    assert (starts % 6 == 0).mean() > 0.97, "else the one before lies in between"


def test_a_start_is_that_of_a_sentence_or_of_a_word_or_the_place():
    marks = marks_of(20, [4], words=[0, 4, 9, 12])
    assert near_start(marks, 10, lowest=0, within=8) == 4
    assert near_start(marks, 10, lowest=5, within=8) == 9
    assert near_start(marks, 11, lowest=10, within=8) == 11


def test_a_permutation_says_where_each_shown_segment_lay():
    spans, rng, seen = [(0, 5), (9, 12), (30, 31)], np.random.default_rng(0), set()
    for _ in range(200):
        found = shuffled(spans, rng)
        order = list(itertools.permutations(range(3)))[found.permutation]
        assert found.spans == [spans[place] for place in order]
        (_, end), (begin, _) = sorted(found.spans[:2])
        assert found.gap == begin - end and found.gap in (4, 18, 25)
        seen.add(found.permutation)
    assert seen == set(range(6))
