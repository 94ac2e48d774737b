"""Arrays find what the rules for one text find, whatever the texts."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textssl.data.language import at_once
from textssl.data.language.at_once import KNOWN_WORDS, LONGEST, languages_of, sentence_starts_of
from textssl.data.language.languages import LATIN, TABLES, language_of
from textssl.data.language.sentences import SHORT_FORMS, sentence_starts
from textssl.data.samples.cache import sample_path
from textssl.data.text.documents import DropReport, read_documents

# what decides about a sentence: marks, abbreviations, numbers, brackets, blank lines, and what plain texts lack
FRAGMENTS = [
    *(
        "Mr. ",
        "e.g. ",
        " no. ",
        "No. 5",
        "foo. Bar",
        " said. He",
        "\n\n",
        ". ",
        "? ",
        "! ",
        '"',
        "'",
        " (",
        ").",
        "). A",
    ),
    *("approx. The", "dept. X", "Inc. The", "a. B", "1. C", "wordlong. Yes", "resp. A", "to 12. The", "a 2. The"),
    *(
        "\n12. A",
        " READ_CODE. The",
        " S3. A",
        " (S3. A",
        " No3. A",
        "u.s. A",
        "12345678. A",
        " 123456. The",
        " . ",
        "..",
    ),
    *(
        "J. R. ",
        "vs. ",
        "etc. The",
        "etc. and",
        "p. 7",
        "U.S. A",
        " jan. 5",
        " mr. X",
        "(mr. X",
        " a word. The",
        " MR. A",
    ),
    *(" an item). This", " Conv. The", "", "\n", "é", "« ", "\0", "\x1c", "\t", "a", "B", "7", "x" * 70_000),
]
WORDS = [word for table in TABLES for words in table.values() for word in words.split()]


def check(texts: list[str], corpus: str) -> None:
    languages = [language_of(text, corpus) for text in texts]
    assert languages_of(texts, corpus) == languages
    assert sentence_starts_of(texts, languages).lists() == [
        sentence_starts(text, language) for text, language in zip(texts, languages, strict=True)
    ]


@settings(max_examples=100)
@given(
    st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join), max_size=12), st.sampled_from(["en", "de"])
)
def test_of_fragments(texts: list[str], corpus: str) -> None:
    check(texts, corpus)


@pytest.mark.parametrize("corpus", ["en", "de", "nb", "ru", "und"])
def test_languages_of_common_words(corpus: str) -> None:
    draw = random.Random(0)
    ascii_words = [word for word in WORDS if word.isascii()]
    for words in (WORDS, ascii_words, [*ascii_words, "other", "The,", "AND."]):
        check([" ".join(draw.choices(words, k=draw.randint(0, 20))) for _ in range(400)], corpus)
        few = [draw.sample(words, 4) for _ in range(400)]  # a word counts once, however often it stands there
        check([" ".join(draw.choices(words, k=draw.randint(1, 12))) for words in few], corpus)


@pytest.mark.parametrize("name", ["news", "bbc", "trec"])
def test_of_samples(name: str) -> None:
    documents = read_documents([str(sample_path(name))], report=DropReport())
    texts = [document.text for document, _ in zip(documents, range(500), strict=False)]
    check(texts, "en")


def test_plain_texts_need_no_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the arrays would be there for nothing."""

    def refuse(*arguments: object) -> None:
        raise AssertionError(arguments)

    for name in ("sentence_starts", "decided", "language_of"):
        monkeypatch.setattr(at_once, name, refuse)
    texts = ["The cat sat on the mat. It was the year of 1999. What of that (and more). The END. Then"] * 3
    assert languages_of(texts, "en") == ["en"] * 3
    assert sentence_starts_of(texts, ["en"] * 3).lists() == [[0, 24, 49, 74, 83]] * 3


def test_known_words() -> None:
    """Each has a slot of its own, and is shorter than what is compared, so that no longer word is taken for it."""
    assert set(KNOWN_WORDS.words) == {word for words in LATIN.values() for word in words.split() if word.isascii()}
    assert np.count_nonzero(KNOWN_WORDS.slots) == len(KNOWN_WORDS.words)
    assert max(map(len, [*KNOWN_WORDS.words, *SHORT_FORMS])) < LONGEST
