"""Sentence starts, by hand."""

# ruff: noqa: RUF001 (signs that look like others are the subject)

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.data.language.languages import AUTO, KNOWN, UNKNOWN, language_of
from textssl.data.language.sentences import sentence_starts

HARD = json.loads(Path(__file__).with_name("hard_sentences.json").read_text(encoding="utf-8"))
NO_SPACES = ("zh", "ja")


def sentences(text: str, language: str = AUTO) -> list[str]:
    starts = sentence_starts(text, language)
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


@pytest.mark.parametrize("language", HARD)
def test_hard_cases_by_a_given_language_and_by_a_guessed_one(language):
    """sentence -> text -> the same sentences; hard_sentences.json was cut by hand."""
    assert len(HARD) == 10 and len(HARD[language]) >= 6
    texts = [("" if language in NO_SPACES else " ").join(expected) for expected in HARD[language]]
    assert [sentences(text, language) for text in texts] == HARD[language]
    assert [sentences(text) for text in texts] == HARD[language]


def test_a_language_decides_what_is_an_abbreviation():
    text = "Laut Abs. 2 kam am 3. Mai, wie Hr. Kunz schrieb, z. B. Peter. Danach ging er."
    assert len(sentences(text, "de")) == 2 < len(sentences(text, "en"))


@pytest.mark.parametrize("language", ["de", "th", "ja", "en"])
@pytest.mark.parametrize(
    "hostile",
    ["B\x85. C.", "B\u2028. Ja.", "\ud800. \udc00 A.", "A.\x00\x01 B.", "é.\r\n\r\n\x1cB. \ufeff", "\x85", ".", "é. »"],
)
def test_no_character_makes_it_fail(hostile, language, capfd):
    """sentencex alone panics at the first two, and refuses the third."""
    starts = sentence_starts(hostile, language)
    assert starts == sorted(set(starts)) and all(not hostile[start].isspace() for start in starts)
    assert capfd.readouterr().err == ""


SIGNS = "aBé.?!… \n\r\"'()«»„“”「」。！中はก์。1\x85\u2028\u200b\ufeff\x00\ud800•–"


@given(st.text(alphabet=SIGNS, max_size=60), st.sampled_from([*KNOWN, AUTO, UNKNOWN]))
def test_starts_are_ordered_and_on_characters_in_every_language(text, language):
    starts = sentence_starts(text, language)
    assert starts == sorted(set(starts)) and all(not text[start].isspace() for start in starts)
    assert (starts[:1] == [len(text) - len(text.lstrip())]) if text.strip() else not starts


@pytest.mark.slow
@pytest.mark.parametrize("run", ["!", "「あ。", "「", '" ', ". ", "z. B. ", "a\n", "( ", "é ", "ก", "\n ", ". » "])
def test_time_grows_with_the_length(run):
    text = run * (100_000 // len(run)) + "é"
    begin = time.process_time()
    for language in ("de", "ja"):
        sentence_starts(text, language)
    assert time.process_time() - begin < 4  # without care, many times that


def test_a_long_text_is_cut_like_its_parts():
    part = "Vgl. § 5 Abs. 2 dazu, z. B. am 3. Oktober. „Nein.“ Er ging usw. Alles war gut (s. o.), wie Dr. Kunz. "
    count = 3000  # several pieces of what sentencex reads at once
    starts = sentence_starts(part * count, "de")
    once = sentence_starts(part, "de")
    assert starts == [len(part) * repeat + start for repeat in range(count) for start in once]
    assert language_of(part) == "de"
