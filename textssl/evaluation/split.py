"""Which texts train and which test, and the few-label draws: functions of the texts, labels and a seed alone.

So every model sees the same examples, whatever the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from textssl.data.labelled.labelled_set import text_hash
from textssl.errors import UserError, excerpt

TEST_SHARE = 0.3


@dataclass(frozen=True)
class Split:
    """Training and test texts with class numbers (places in `classes`).

    available: distinct texts before the caps. duplicates: texts left out because they occurred before. conflicting:
    how many of these had another label; the first label counts.
    """

    classes: list[str]
    train_texts: list[str]
    train_labels: np.ndarray
    test_texts: list[str]
    test_labels: np.ndarray
    available: int
    duplicates: int
    conflicting: int


def split_by_hash(
    name: str,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    test: tuple[Sequence[str], Sequence[str]] | None = None,
    max_train: int | None = None,
    max_test: int | None = None,
) -> Split:
    """Texts whose hash falls into the lowest TEST_SHARE test, the others train; both in the order of their hashes.

    A cap keeps the first of that order, so a capped set is part of the whole one, test of test.
    test: given test texts and labels, instead of the hash. Test texts never train.
    Raises UserError where a class of the test set has no training example, a side is empty, or there is one class.
    """
    train, conflicting = _by_hash(texts, labels)
    if test is None:
        boundary = int(TEST_SHARE * 2**64)
        held = [item for item in train if item[0] < boundary]
        train = [item for item in train if item[0] >= boundary]
        given = len(texts)
    else:
        held, in_test = _by_hash(*test)
        conflicting += in_test
        tested = {item[0] for item in held}
        train = [item for item in train if item[0] not in tested]
        given = len(texts) + len(test[0])
    available, whole = len(train) + len(held), {label for _, _, label in train}
    train, held = train[:max_train], held[:max_test]
    if not train or not held:
        raise UserError(f"{name}: {available} distinct texts are too few to split into training and test")
    classes = sorted({label for _, _, label in train})
    unknown = sorted({label for _, _, label in held} - set(classes))
    if unknown:
        why = f" among the first {max_train}: raise max_train" if unknown[0] in whole else ""
        raise UserError(f"{name}: class {excerpt(unknown[0])} is in the test texts but has no training text{why}")
    if len(classes) < 2:
        raise UserError(f"{name}: all training texts have the class {excerpt(classes[0])}; a probe needs two")
    number = {label: place for place, label in enumerate(classes)}
    return Split(
        classes,
        [text for _, text, _ in train],
        np.array([number[label] for _, _, label in train]),
        [text for _, text, _ in held],
        np.array([number[label] for _, _, label in held]),
        available,
        given - available,
        conflicting,
    )


def _by_hash(texts: Sequence[str], labels: Sequence[str]) -> tuple[list[tuple[int, str, str]], int]:
    """(hash, text, label) of each distinct text, by hash; and how many repetitions had another label."""
    distinct, conflicting = distinct_texts(texts, labels)
    return sorted((text_hash(text), text, label) for text, label in distinct.items()), conflicting


def distinct_texts(texts: Sequence[str], labels: Sequence[str]) -> tuple[dict[str, str], int]:
    """{text: its first label}, and how many repetitions of a text had another label."""
    distinct: dict[str, str] = {}
    conflicting = sum(distinct.setdefault(text, label) != label for text, label in zip(texts, labels, strict=True))
    return distinct, conflicting


def few_label_draws(labels: np.ndarray, shots: int, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of `shots` training examples a class (all of a class that has fewer), `draws` times."""
    for draw in range(draws):
        rng = np.random.default_rng([seed, shots, draw])
        chosen = [rng.permutation(np.flatnonzero(labels == label))[:shots] for label in np.unique(labels)]
        yield np.concatenate(chosen)
