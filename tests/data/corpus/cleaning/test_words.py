"""Words as arrays: the same words as a plain reading of the text, whatever they are cut into."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.data.corpus.cleaning import words
from textssl.data.corpus.cleaning.words import words_of

SIGNS = st.text(st.sampled_from("aBé_9 \n.,-'我爱ねко한ß\u0301\u0e01\U0001f600İ"), max_size=60)


def plain_words(text: str) -> list[str]:
    found, word = [], ""
    for sign in unicodedata.normalize("NFC", text.lower()):
        alone = bool(words.UNSPACED.match(sign)) or ord(sign) >= 2**16
        part = sign.isalnum() or sign == "_" or unicodedata.category(sign)[0] == "M"
        if word and (alone or not part):
            found.append(word)
            word = ""
        if alone and (part or ord(sign) >= 2**16):
            found.append(sign)
        elif part:
            word += sign
    return [*found, word] if word else found


@given(st.lists(SIGNS, min_size=1, max_size=6))
def test_words_are_those_of_a_plain_reading(texts):
    found = words_of(texts)
    expected = [(owner, word) for owner, text in enumerate(texts) for word in plain_words(text)]
    assert found.owners.tolist() == [owner for owner, _ in expected]
    assert found.lengths.tolist() == [len(word) for _, word in expected]
    names: dict[int, str] = {}
    for value, (_, word) in zip(found.hashes.tolist(), expected, strict=True):
        assert names.setdefault(value, word) == word  # different words, different hashes
    assert len(names) == len({word for _, word in expected})  # the same word, the same hash, anywhere


@pytest.mark.parametrize("characters", [8, 30, 1000])
def test_what_is_hashed_at_once_makes_no_difference(monkeypatch, characters):
    texts = ["one two three four " * 5, "", "one", "three four one two " * 9, "x y"]
    whole = words_of(texts)
    monkeypatch.setattr(words, "CHUNK_CHARACTERS", characters)
    for left, right in zip(words_of(texts), whole, strict=True):
        assert np.array_equal(left, right)


def test_where_a_text_is_cut_depends_on_itself_alone(monkeypatch):
    monkeypatch.setattr(words, "CHUNK_CHARACTERS", 10)
    long = "abcdefghijklmnopqrstuvwxyz" * 3  # one word, which has to be torn
    alone, behind = words_of([long]), words_of(["some other text", long])
    assert len(alone.hashes) > 1
    assert np.array_equal(alone.hashes, behind.hashes[behind.owners == 1])
