from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.folders import topics
from textssl.errors import UserError
from textssl.evaluation.split import few_label_draws, split_by_hash

TEXTS, LABELS = topics(300)


def test_split_is_the_same_in_any_order_and_parts_are_disjoint():
    split = split_by_hash("t", TEXTS, LABELS)
    turned = split_by_hash("t", TEXTS[::-1], LABELS[::-1])
    assert split.test_texts == turned.test_texts and split.train_texts == turned.train_texts
    np.testing.assert_array_equal(split.test_labels, turned.test_labels)
    assert not set(split.train_texts) & set(split.test_texts)
    assert set(split.train_texts) | set(split.test_texts) == set(TEXTS)
    assert 60 < len(split.test_texts) < 120
    names = dict(zip(TEXTS, LABELS, strict=True))
    assert [split.classes[label] for label in split.train_labels] == [names[text] for text in split.train_texts]


def test_caps_keep_a_part_and_count_it():
    whole = split_by_hash("t", TEXTS, LABELS)
    capped = split_by_hash("t", TEXTS, LABELS, max_train=50, max_test=20)
    assert capped.train_texts == whole.train_texts[:50] and capped.test_texts == whole.test_texts[:20]
    assert capped.available == 300


def test_duplicates_never_stand_on_both_sides():
    split = split_by_hash("t", TEXTS + TEXTS[:10], LABELS + LABELS[:10])
    assert split.duplicates == 10 and split.available == 300
    given = split_by_hash("t", TEXTS, LABELS, test=(TEXTS[:30], LABELS[:30]))
    assert set(given.test_texts) == set(TEXTS[:30]) and set(given.train_texts) == set(TEXTS[30:])
    assert given.duplicates == 30


def test_sets_that_cannot_be_split():
    with pytest.raises(UserError, match="too few"):
        split_by_hash("t", TEXTS[:1], LABELS[:1])
    with pytest.raises(UserError, match="has no training text"):
        split_by_hash("t", TEXTS, LABELS, test=(["new"], ["another"]))
    with pytest.raises(UserError, match="all training texts have the class"):
        split_by_hash("t", TEXTS[::3], LABELS[::3])


def test_draws_are_balanced_fixed_and_different():
    labels = np.array([0] * 50 + [1] * 5 + [2] * 30)
    draws = list(few_label_draws(labels, 8, 10, seed=0))
    for places in draws:
        np.testing.assert_array_equal(np.bincount(labels[places]), [8, 5, 8])
        assert len(set(places)) == 21
    assert len({tuple(sorted(places)) for places in draws}) == 10
    for places, again in zip(draws, few_label_draws(labels, 8, 10, seed=0), strict=True):
        np.testing.assert_array_equal(places, again)
