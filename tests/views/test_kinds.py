"""Views of a sample: what they show, that they follow the sample's randomness alone, and how options are answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textssl.config import validate_options
from textssl.errors import UserError
from textssl.objectives.crops import Crops
from textssl.objectives.simcse import SimCSE
from textssl.sample_types import LONGEST_WORD, WORD_START, Adjacent, Document, Pair, content_key
from textssl.views.kinds import KINDS, CropsView, DeletionView, DropoutView, PairsView, ShuffleView, as_view


def sentence(words: list[int]) -> Document:
    """A document of words of so many tokens each; every token has another id."""
    marks = np.concatenate([[WORD_START] + [0] * (length - 1) for length in words]).astype(np.uint8)
    return Document(np.arange(100, 100 + sum(words)), marks)


WORDS = st.lists(st.integers(1, 4), min_size=1, max_size=30)


def words_of(document: Document, ids: np.ndarray) -> list[tuple[int, ...]]:
    starts = np.flatnonzero(document.marks & WORD_START)
    whole = {tuple(word.tolist()) for word in np.split(document.ids, starts[1:])}
    found, rest = [], ids.tolist()
    while rest:
        word = next(word for word in whole if rest[: len(word)] == list(word))
        found.append(word)
        rest = rest[len(word) :]
    return found


@given(WORDS, st.integers(0, 2**32), st.floats(0, 0.95))
def test_deletion_takes_out_whole_words_and_leaves_one(words, seed, rate):
    document = sentence(words)
    views = DeletionView(rate=rate)(document, np.random.default_rng(seed), 0.0)
    for ids in views.texts:
        assert ids is not None
        kept = words_of(document, ids)
        assert kept and kept == sorted(kept)
        assert rate > 0 or len(kept) == len(words)
    assert views.source == content_key(document.ids)


def test_deletion_deletes_at_its_rate():
    document = sentence([1] * 1000)
    first, second = DeletionView(rate=0.3)(document, np.random.default_rng(0), 0.0).texts
    assert first is not None and second is not None
    assert 0.65 < len(first) / 1000 < 0.75 and not np.array_equal(first, second)


@pytest.mark.parametrize("view", [DeletionView(rate=0.5), ShuffleView()])
def test_a_sentence_without_spaces_changes_too(view):
    document = sentence([160])  # a Chinese sentence may be one word to a tokenizer
    texts = [view(document, np.random.default_rng(seed), 0.0).texts[1] for seed in range(20)]
    assert len({ids.tobytes() for ids in texts if ids is not None}) > 10
    assert all(len(ids) % LONGEST_WORD == 0 for ids in texts if ids is not None)


@given(WORDS, st.integers(0, 2**32), st.one_of(st.none(), st.integers(1, 5)))
def test_shuffle_keeps_every_word_whole_and_moves_it_no_further_than_asked(words, seed, distance):
    document = sentence(words)
    same, shuffled = ShuffleView(distance=distance)(document, np.random.default_rng(seed), 0.0).texts
    assert same is not None and shuffled is not None
    before, after = words_of(document, same), words_of(document, shuffled)
    assert before == sorted(after)
    if distance is not None:
        assert max(abs(before.index(word) - place) for place, word in enumerate(after)) <= distance


def test_shuffle_shuffles():
    _, shuffled = ShuffleView()(sentence([1] * 50), np.random.default_rng(0), 0.0).texts
    assert shuffled is not None and (np.diff(shuffled) != 1).sum() > 30


def equal(first: Any, second: Any) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_pairs_are_given_texts_or_neighbouring_sentences():
    left, right = sentence([1, 2]), sentence([3])
    views = PairsView()(Adjacent(left, right), np.random.default_rng(0), 0.0)
    assert views.texts == [left.ids, right.ids] and views.source == content_key(left.ids)
    views = PairsView()(Pair(left.ids, right.ids, [], 2.0, source=7), np.random.default_rng(0), 0.0)
    assert views.source == 7 and views.target == 2.0


@pytest.mark.parametrize("name", [name for name in KINDS if name != "pairs"])
def test_a_view_follows_the_randomness_of_its_sample(name):
    document = sentence([2] * 40)
    one, same, other = (as_view({"name": name})(document, np.random.default_rng(seed), 0.0).texts for seed in (1, 1, 2))
    assert equal(one, same)
    assert name == "dropout" or not equal(one, other)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, CropsView()),
        ({"view": "dropout"}, DropoutView()),
        ({"view": {"max_tokens": 20}}, CropsView(max_tokens=20)),
        ({"view": {"name": "deletion", "rate": 0.5}}, DeletionView(rate=0.5)),
    ],
)
def test_a_view_is_a_name_or_options_and_the_methods_own_by_default(given, expected):
    options = validate_options(Crops, given, "objective")
    assert as_view(options["view"]) == expected
    assert as_view(validate_options(SimCSE, {}, "objective")["view"]) == DropoutView()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"view": "crps"}, "unknown objective.view.name 'crps'; did you mean crops?"),
        ({"view": {"max_tokns": 3}}, "unknown key objective.view.max_tokns; did you mean objective.view.max_tokens?"),
        ({"view": {"max_tokens": 0}}, "objective.view.max_tokens: input should be greater than or equal to 1 (got 0)"),
        ({"view": {"min_tokens": 9, "max_tokens": 8}}, "objective.view: min_tokens is 9 and max_tokens 8"),
        ({"max_tokens": 5}, "unknown key objective.max_tokens; did you mean objective.view.max_tokens?"),
        ({"view": 5}, "objective.view must be a name, or keys with a name (got 5)"),
        ({"view": {"name": "shuffle", "rate": 1}}, "unknown key objective.view.rate"),
    ],
)
def test_wrong_views_and_old_keys_are_answered(given, message):
    with pytest.raises(UserError) as caught:
        validate_options(Crops, given, "objective")
    assert message in str(caught.value)
