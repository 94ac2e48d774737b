"""Repetition as Gopher measures it, beside a plain reading of its table A1."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.tiny import texts
from textssl.data.corpus.cleaning.repetition import (
    in_commonest,
    in_repeated,
    repeated_parts,
    repetitions,
)
from textssl.data.corpus.cleaning.words import words_of


def plain_runs(text: str, length: int) -> tuple[int, int]:
    """Characters in the commonest run of words, and in the words that a repeated run covers."""
    words = text.split()
    runs = Counter(tuple(words[start : start + length]) for start in range(len(words) - length + 1))
    most = max(runs.values(), default=0)

    def covered(counted: set[tuple[str, ...]]) -> int:
        places = {
            place
            for start in range(len(words) - length + 1)
            if tuple(words[start : start + length]) in counted
            for place in range(start, start + length)
        }
        return sum(len(words[place]) for place in places)

    top = max((covered({run}) for run, count in runs.items() if count == most > 1), default=0)
    return top, covered({run for run, count in runs.items() if count > 1})


TABLE_A1 = {2: 0.2, 3: 0.18, 4: 0.16, 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}


@settings(max_examples=50)
@example(["a bb a bb a bb ccc dd ccc dd"])  # not the run with the most characters
@given(st.lists(st.lists(st.sampled_from(["a", "bb", "ccc", "dd"]), max_size=25).map(" ".join), min_size=1, max_size=4))
def test_runs_are_counted_as_in_a_plain_reading(documents):
    words = words_of(documents)
    for length in (2, 3, 5):
        expected = [plain_runs(text, length) for text in documents]
        assert in_commonest(words, length, len(documents)).tolist() == [top for top, _ in expected]
        assert in_repeated(words, length, len(documents)).tolist() == [covered for _, covered in expected]


def test_overlapping_runs_count_their_words_once():
    """A share is at most 1: of `ha ha` in eight words there are seven, which cover eight."""
    assert repetitions(["ha " * 8]) == ["1.00 of the characters in the commonest run of 2 words, at most 0.20"]
    words = words_of(["ha ha ha ha one two", "one two one two ho"])
    assert in_commonest(words, 2, 2).tolist() == [8, 12] and in_commonest(words, 3, 2).tolist() == [8, 0]


def numbered(count: int) -> str:
    return " ".join(f"word{place:03d}" for place in range(count))


@pytest.mark.parametrize(("length", "most"), TABLE_A1.items())
def test_each_limit_holds(length, most):
    """A run of `length` words twice or more often, among as many others as bring its share just below and above."""
    run, times = " ".join(f"same{place:03d}" for place in range(length)), 8 if length < 5 else 2
    for share, expected in ((most - 0.004, False), (most + 0.004, True)):
        rest = numbered(round(length * times * (1 / share - 1))).split()
        parts = [" ".join([run, *rest[place::times]]) for place in range(times)]
        fault = repetitions([" ".join(parts)])[0]
        assert (fault is not None) == expected
        assert fault is None or (f"at most {most:.2f}" in fault and f"{length} words" in fault)


def test_repeated_lines_and_paragraphs():
    lines, short = [numbered(30 + place) for place in range(4)], ["a", "b", "c"]
    assert repeated_parts("\n".join([*lines, *short, *short])) is None  # 3 of 10 lines
    assert repeated_parts("\n".join([*lines[:3], "", *short, *short])) == "0.33 of the lines came before, at most 0.30"
    assert repeated_parts("\n".join([*lines, lines[0]])) is None  # 30 of 156 words
    more = repeated_parts("\n".join([*lines, lines[3]]))  # 33 of 159
    assert more == "0.21 of the characters in lines that came before, at most 0.20"
    pages = repeated_parts("\n\n".join(["x", "x", "\n".join(lines)]))
    assert pages == "0.33 of the paragraphs came before, at most 0.30"
    assert repeated_parts("") is None and repeated_parts("\n\n") is None


def test_most_real_text_is_not_repetitive():
    found = repetitions(texts())
    assert 0 < sum(fault is not None for fault in found) < 0.6 * len(found)
    assert found == [repetitions([text])[0] for text in texts()]
