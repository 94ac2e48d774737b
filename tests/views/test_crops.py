"""Properties of the two spans of a document, for marks of every kind."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from textssl.sample_types import SENTENCE_START, WORD_START
from textssl.views.crops import two_spans

WORDS = st.lists(st.integers(1, 6), min_size=1, max_size=60)  # tokens of each word
LENGTHS = st.tuples(st.integers(1, 12), st.integers(0, 20)).map(lambda pair: (pair[0], sum(pair)))
SEEDS = st.integers(0, 2**32)


def marks_of(words):
    marks = np.zeros(sum(words), np.uint8)
    marks[np.cumsum([0, *words[:-1]])] = WORD_START
    marks[0] |= SENTENCE_START
    return marks


def draw(marks, lengths, overlap, seed, max_gap=None):
    least, most = lengths
    return two_spans(marks, least, most, overlap, np.random.default_rng(seed), max_gap)


@given(WORDS, LENGTHS, SEEDS)
def test_disjoint_spans_share_no_token(words, lengths, seed):
    marks = marks_of(words)
    spans = draw(marks, lengths, "disjoint", seed)
    assert all(0 <= begin < end <= len(marks) and end - begin <= lengths[1] for begin, end in spans)
    if len(marks) == 1:
        assert spans == ((0, 1), (0, 1))
    else:
        (_, left_end), (right_begin, _) = sorted(spans)
        assert left_end <= right_begin


@given(WORDS, LENGTHS, SEEDS, st.sampled_from(["disjoint", "any"]))
def test_spans_have_the_lengths_asked_for_where_the_document_has_room(words, lengths, seed, overlap):
    marks = marks_of(words)
    if len(marks) >= lengths[1] * (2 if overlap == "disjoint" else 1):
        for begin, end in draw(marks, lengths, overlap, seed):
            assert lengths[0] <= end - begin <= lengths[1]


@given(WORDS, LENGTHS, SEEDS, st.sampled_from(["disjoint", "any"]))
def test_a_document_that_is_too_short_is_used_whole(words, lengths, seed, overlap):
    marks = marks_of(words)
    if 1 < len(marks) <= lengths[0]:
        spans = draw(marks, lengths, overlap, seed)
        if overlap == "any":
            assert spans == ((0, len(marks)), (0, len(marks)))
        else:
            assert sorted(spans)[0][0] == 0 and sorted(spans)[1][1] == len(marks)
            assert sorted(spans)[0][1] == sorted(spans)[1][0]


@given(WORDS, SEEDS, st.sampled_from(["disjoint", "any"]))
def test_spans_start_at_words_where_these_are_shorter_than_spans(words, seed, overlap):
    marks = marks_of(words)
    if len(marks) >= 40:  # 12 to 16 tokens a span, words of 6 at most
        for begin, _ in draw(marks, (12, 16), overlap, seed):
            assert marks[begin] & WORD_START


@pytest.mark.parametrize("overlap", ["disjoint", "any"])
def test_text_without_word_starts_is_cut_anywhere(overlap):
    marks = np.zeros(100, np.uint8)
    spans = [draw(marks, (8, 8), overlap, seed) for seed in range(200)]
    assert len({begin for pair in spans for begin, _ in pair}) > 30
    assert all(end - begin == 8 for pair in spans for begin, end in pair)


@pytest.mark.parametrize("overlap", ["disjoint", "any"])
def test_a_pure_function_of_the_generator(overlap):
    marks = marks_of([3] * 40)
    first = [draw(marks, (4, 20), overlap, seed) for seed in range(50)]
    assert first == [draw(marks, (4, 20), overlap, seed) for seed in range(50)]
    assert len(set(first)) > 40


def test_every_place_is_seen_and_both_orders_are():
    marks = marks_of([1] * 60)
    spans = [draw(marks, (5, 10), "disjoint", seed) for seed in range(500)]
    seen = np.zeros(60, int)
    for pair in spans:
        for begin, end in pair:
            seen[begin:end] += 1
    assert seen.min() > 0.2 * seen.mean()
    assert 0.4 < np.mean([first < second for first, second in spans]) < 0.6
    lengths = [end - begin for pair in spans for begin, end in pair]
    assert set(lengths) == set(range(5, 11))


@pytest.mark.parametrize("overlap", ["disjoint", "any"])
def test_a_word_near_the_end_does_not_shorten_a_span(overlap):
    marks = marks_of([9, 1, 9, 1])
    for seed in range(200):
        assert {end - begin for begin, end in draw(marks, (4, 4), overlap, seed)} == {4}


@given(WORDS, LENGTHS, SEEDS, st.integers(0, 30))
@example([3, 1], (1, 3), 1, 0)  # a word's start far from where the two should meet
def test_no_more_than_the_gap_lies_between_them(words, lengths, seed, gap):
    marks = marks_of(words)
    spans = sorted(draw(marks, lengths, "disjoint", seed, gap))
    if len(marks) > 1:
        (begin, left_end), (right_begin, end) = spans
        assert 0 <= begin < left_end <= right_begin < end <= len(marks)
        assert right_begin - left_end <= gap
        if len(marks) >= 2 * lengths[1]:
            assert all(lengths[0] <= stop - start <= lengths[1] for start, stop in spans)


def test_near_spans_lie_anywhere_in_the_document():
    marks = marks_of([1] * 100)
    starts = [min(two_spans(marks, 5, 5, "disjoint", np.random.default_rng(seed), 4))[0] for seed in range(500)]
    assert min(starts) < 5 and max(starts) > 80 and len(set(starts)) > 60


def test_short_spans_are_as_usual_as_long_ones():
    marks = marks_of([1] * 300)
    spans = [draw(marks, (4, 64), "any", seed) for seed in range(1000)]
    lengths = np.array([end - begin for pair in spans for begin, end in pair])
    shares = [np.mean((lengths >= low) & (lengths < 2 * low)) for low in (4, 8, 16, 32)]
    assert all(0.2 < share < 0.3 for share in shares) and lengths.max() == 64
