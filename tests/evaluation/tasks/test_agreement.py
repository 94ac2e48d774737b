from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest

from textssl.data.text.documents import DropReport, read_documents
from textssl.evaluation.tasks.agreement import PHENOMENA, agreement_pairs


def words(sentence: str) -> list[str]:
    return re.findall(r"[a-z]+", sentence.lower())


def test_the_set_is_fixed_distinct_and_says_what_it_holds():
    pairs = agreement_pairs()
    assert pairs == agreement_pairs() != agreement_pairs(seed=1)
    assert Counter(pair.phenomenon for pair in pairs) == dict.fromkeys(PHENOMENA, 60)
    sentences = [*(pair.good for pair in pairs), *(pair.bad for pair in pairs)]
    assert len(set(sentences)) == 2 * len(pairs)
    assert all(re.fullmatch(r"[A-Z][a-z ]+\.", sentence) for sentence in sentences)
    assert agreement_pairs(10)[:10] == pairs[:10]


def test_a_pair_differs_in_one_word_or_a_verb_and_its_mirror_swaps_what_is_right():
    pairs = agreement_pairs()
    for pair, mirror in zip(pairs[::2], pairs[1::2], strict=True):
        right, wrong = Counter(words(pair.good)), Counter(words(pair.bad))
        swapped_right, swapped_wrong = Counter(words(mirror.good)), Counter(words(mirror.bad))
        assert sum((right - wrong).values()) == sum((wrong - right).values()) == 1
        assert right - wrong == swapped_wrong - swapped_right
        assert wrong - right == swapped_right - swapped_wrong


@pytest.mark.parametrize("phenomenon", PHENOMENA)
@pytest.mark.parametrize("seed", range(3))
def test_no_preference_for_words_or_lengths_has_more_than_half_right(phenomenon: str, seed: int):
    """A unigram model of real text, random preferences, and the number of letters: all have exactly half."""
    pairs = [pair for pair in agreement_pairs() if pair.phenomenon == phenomenon]
    rng = np.random.default_rng(seed)
    vocabulary = {word for pair in pairs for word in words(pair.good) + words(pair.bad)}
    weights = dict(zip(sorted(vocabulary), rng.normal(size=len(vocabulary)), strict=True))
    for score in (lambda text: sum(weights[word] for word in words(text)), len):
        gaps = np.array([score(pair.good) - score(pair.bad) for pair in pairs])
        assert np.where(abs(gaps) < 1e-9, 0.5, gaps > 0).mean() == 0.5


@pytest.mark.network
def test_small_vocabularies_know_the_words_and_real_counts_have_half_right():
    counts: Counter[str] = Counter()
    for document in read_documents(["sample:news"], report=DropReport()):
        counts.update(words(document.text))
    pairs = agreement_pairs()
    frequent = {word for word, _ in counts.most_common(8000)}
    used = Counter(word for pair in pairs for word in words(pair.good))
    assert sum(count for word, count in used.items() if word in frequent) / used.total() > 0.97
    total = sum(counts.values())

    def score(text: str) -> float:
        return sum(np.log((counts[word] + 1) / total) for word in words(text))

    gaps = np.array([score(pair.good) - score(pair.bad) for pair in pairs])
    assert np.where(abs(gaps) < 1e-9, 0.5, gaps > 0).mean() == 0.5
