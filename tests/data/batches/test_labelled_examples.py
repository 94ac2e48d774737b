"""Labelled texts as a classifier reads them: the tokenizer's own ids, and every example dealt once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import texts, tiny_tokenizer
from textssl import tokenizer
from textssl.data.batches.batching import Limits, own_share
from textssl.data.batches.labelled_examples import ExampleDealing, LabelPairs, encode_examples, outside
from textssl.data.labelled.labelled_set import Labeled
from textssl.sample_types import Example, LabelFacts

TEXTS = ["", "one", *(text[: 40 * place] for place, text in enumerate(texts()[:10], start=1))]
FACTS = LabelFacts(("a", "b"), (6, 6))
LENGTH = 24


def labelled(*, pairs: bool) -> Labeled:
    return Labeled("set", TEXTS, ["b", "a"] * 6, TEXTS[::-1] if pairs else None)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_examples_are_what_the_tokenizer_gives(pairs, causal):
    words: Any = tokenizer.for_causal(tiny_tokenizer()) if causal else tiny_tokenizer()
    found, cut = encode_examples(labelled(pairs=pairs), words, LENGTH, FACTS)
    assert [one.target for one in found] == [1.0, 0.0] * 6
    lengths = []
    for place, one in enumerate(found):
        sides = [[TEXTS[place]], [TEXTS[-1 - place]]][: 1 + pairs]
        alone = words(*sides, truncation=True, max_length=LENGTH, return_token_type_ids=True)
        expected = alone["input_ids"][0] or [words.pad_token_id]  # no token at all is read as one of padding
        assert one.ids.tolist() == expected and one.ids.dtype == one.types.dtype == np.int64
        assert one.types.tolist() == (alone["token_type_ids"][0] or [0])
        lengths.append(len(words(*sides)["input_ids"][0]))
    assert cut == sum(length > LENGTH for length in lengths) > 0
    assert max(len(one.ids) for one in found) == LENGTH
    whole, none = encode_examples(labelled(pairs=pairs), words, max(lengths), FACTS)
    assert none == 0 and [len(one.ids) for one in whole] == [max(length, 1) for length in lengths]


def test_the_second_text_of_a_pair_has_its_own_type():
    found, _ = encode_examples(Labeled("set", ["one"], ["a"], ["two three"]), tiny_tokenizer(), LENGTH, FACTS)
    types = found[0].types.tolist()
    assert types == sorted(types) and {0, 1} == set(types)


def test_scores_are_targets():
    found, _ = encode_examples(Labeled("set", ["x", "y"], [], None, [2.5, -1.0]), tiny_tokenizer(), 8, LabelFacts())
    assert [one.target for one in found] == [2.5, -1.0]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=40),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 9)),
    st.one_of(st.none(), st.integers(1, 300)),
)
def test_every_example_is_dealt_once_over_the_ranks(lengths, world, at_most, tokens):
    views = [Example(np.full(size, place), np.zeros(size, np.int64), place) for place, size in enumerate(lengths)]
    dealing = ExampleDealing(Limits(at_most, tokens))
    parts = [own_share(len(views), world, rank) for rank in range(world)]
    shares = [dealing.deal(views[own.start : own.stop], own.start) for own in parts]
    seen = []
    for batch in [batch for share in shares for batch in share]:
        assert batch.targets.tolist() == batch.samples.tolist()
        assert batch.lengths.tolist() == [lengths[place] for place in batch.samples]
        repeated = [place for place in batch.samples.tolist() for _ in range(lengths[place])]
        assert batch.ids.tolist() == repeated and len(batch.types) == len(batch.ids)
        if at_most is not None:
            assert len(batch) <= at_most
        seen += batch.samples.tolist()
    assert sorted(seen) == list(range(len(lengths)))


LABELS = ["dog", "cat", "dog", "ant", "dog", "cat"]


def pairs(*, scored: bool, seed: int = 0) -> LabelPairs:
    ids = [np.full(place + 1, place, np.int64) for place in range(len(LABELS))]
    return LabelPairs(ids, LABELS, seed, scored=scored, fingerprint="x")


def places(pair) -> tuple[int, int]:
    return int(pair.left[0]), int(pair.right[0])


def test_pairs_share_their_class_and_name_it():
    found = pairs(scored=False)
    assert found.facts.scored is False and len(found) == 6
    for epoch in range(4):
        samples = [found.sample(6 * epoch + place) for place in range(6)]
        assert sorted(places(one)[0] for one in samples) == list(range(6)), "each text once an epoch"
        for one in samples:
            left, right = places(one)
            assert LABELS[left] == LABELS[right] and one.target is None
            assert one.source == ["ant", "cat", "dog"].index(LABELS[left]), "classes number as sorted"
            assert (left == right) == (LABELS[left] == "ant"), "a text alone in its class is beside itself"


def test_partners_are_drawn_equally_often():
    found = pairs(scored=False)
    drawn = Counter(places(found.sample(index)) for index in range(6 * 600))
    among_dogs = [drawn[left, right] for left in (0, 2, 4) for right in (0, 2, 4) if left != right]
    assert all(abs(count - 300) < 5 * 150**0.5 for count in among_dogs)
    assert drawn[1, 5] == drawn[5, 1] == drawn[3, 3] == 600


@given(st.sets(st.integers(0, 30)))
def test_the_texts_of_other_classes_in_their_order(inside):
    others = [place for place in range(31) if place not in inside]
    assert [outside(np.array(sorted(inside), int), number) for number in range(len(others))] == others


def test_scored_pairs_alternate_between_alike_and_different():
    found = pairs(scored=True)
    assert found.facts.scored
    for index in range(24):
        one = found.sample(index)
        left, right = places(one)
        assert one.target == (index + 1) % 2 == float(LABELS[left] == LABELS[right])
        assert left == places(found.sample(index - index % 2))[0], "both pairs of a text follow each other"
    assert sorted(places(found.sample(index))[0] for index in range(0, 12, 2)) == list(range(6))


def test_pairs_are_a_function_of_seed_and_place():
    def first(seed: int) -> list[tuple[int, int]]:
        return [places(pairs(scored=False, seed=seed).sample(index)) for index in range(30)]

    assert first(0) == first(0) != first(1)
    assert [len(pair.left) for pair in pairs(scored=False).pairs] == [1, 2, 3, 4, 5, 6]
