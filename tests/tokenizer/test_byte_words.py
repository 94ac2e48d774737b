"""Words of byte-level BPE in arrays are those of the library's regular expression."""

import numpy as np
import pytest
from tokenizers import pre_tokenizers

from textssl.tokenizer.byte_words import ByteWords, byte_places
from textssl.tokenizer.hard_strings import hard_strings

WORDS = ByteWords()


def starts(texts: list[str]) -> list[list[int]]:
    """Character offsets of the words of each text, all texts in one array."""
    data = np.frombuffer("".join(texts).encode(), np.uint8)
    ends = np.cumsum([len(text) for text in texts])
    firsts = np.array([end - len(text) for text, end in zip(texts, ends, strict=True) if text])
    first = np.zeros(len(data), dtype=bool)
    first[byte_places(data, firsts)] = True
    characters = WORDS.starts(data, first)[byte_places(data, np.arange(ends[-1]))]
    assert characters.sum() == WORDS.starts(data, first).sum(), "a word begins within a character"
    return [np.flatnonzero(part).tolist() for part in np.split(characters, ends[:-1])]


def test_words_are_those_of_the_library_on_hard_strings():
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    texts = hard_strings()[::2]
    expected = [[offsets[0] for _, offsets in splitter.pre_tokenize_str(text)] for text in texts]
    assert starts(texts) == expected


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("don't", [0, 3]),
        ("x'sam", [0, 1, 3]),
        ("x 'sam", [0, 1, 3]),  # " '" is a word, no contraction
        ("it're'll", [0, 2, 5]),
        ("''s", [0, 2]),
        ("\n's", [0, 1]),
        ("a  b", [0, 1, 2]),
        ("a \n b", [0, 1, 3]),
        ("a\n\nb", [0, 1, 2, 3]),
        ("a  ", [0, 1]),
        ("a1!é", [0, 1, 2, 3]),
    ],
)
def test_rules_one_by_one(text: str, places: list[int]):
    assert starts([text]) == [places]


def test_no_rule_looks_into_the_next_text():
    assert starts(["x'", "s y", "x'l", "l", " ", "a"]) == [[0, 1], [0, 1], [0, 1, 2], [0], [0], [0]]
