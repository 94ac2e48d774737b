"""Sentence starts, by hand."""

# ruff: noqa: RUF001 (signs that look like others are the subject)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.data.sentences import sentence_starts


def sentences(text: str) -> list[str]:
    starts = sentence_starts(text)
    return [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Smith paid $3.50 for it.", "He left at 5 p.m.", "The shop closed."],
        ['He said "Go."', "Then he left.", '"Why?" she asked.', "(It rained.)", "Yes!"],
        ["J. K. Rowling met U.S. President Obama in the U.S.", "It was Jan. 5 in No. 10."],
        ["And so on...", "Then... maybe not.", "See e.g. Figs. 3 and 4."],
        ["1. First item.", "2. Second item.", "3. Third."],
        ["Wait!!!", "What?!", "“No,” he said.", "‘Never.’", "Fine…"],
        ["Version 2.0 is at example.com/a.b now.", "Get it."],
        ["Mr. and Mrs. Li work at Acme Inc. in Bonn.", "Prof. Wu does not."],
        ["«Oui.»", "Il part.", "¿Qué?", "¡Sí!"],
        ["They won 3-2.", "4,000 people came."],
        ["No stop at the end"],
    ],
)
def test_hand_cut(expected):
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize(
    "expected",
    [
        ["你好。", "再见！", "真的吗？", "是的。", "「好。」", "他说。"],
        ["今日は３．５度です。", "寒い。"],
        ["यह ठीक है।", "हाँ।"],
        ["هل أنت بخير؟", "نعم۔"],
    ],
)
def test_scripts_with_their_own_terminators_need_no_space(expected):
    assert sentences("".join(expected)) == expected


def test_blank_lines_end_sentences_and_single_line_breaks_do_not():
    text = "A title\n\nOne line\ngoes on. Two\n \n\nthree"
    assert sentences(text) == ["A title", "One line\ngoes on.", "Two", "three"]


def test_offsets_are_those_of_the_text():
    assert sentence_starts("  One.  Two.\n") == [2, 8]
    assert sentence_starts("") == sentence_starts(" \n\t ") == []


@given(st.text(alphabet="aB.?! \n\"'()。1", max_size=60))
def test_starts_are_ordered_and_on_characters(text):
    starts = sentence_starts(text)
    assert starts == sorted(set(starts)) and all(not text[start].isspace() for start in starts)
    assert (starts[:1] == [len(text) - len(text.lstrip())]) if text.strip() else not starts
