"""Labelled texts as a classifier reads them: tokenized, in an order, dealt to micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from textssl.batch import Examples, stack_examples
from textssl.data.batches.batching import Limits, deal_by_length
from textssl.data.batches.token_reader import TokenReader
from textssl.data.keyed_random import PAIRS
from textssl.data.labelled.labelled_set import Labeled
from textssl.data.labelled.splits import by_class
from textssl.data.plan.in_memory import InMemory
from textssl.sample_types import Example, LabelFacts, Pair, PairFacts
from textssl.tokenizer.vocabulary import padding_id


def encode_examples(
    labeled: Labeled, tokenizer: PreTrainedTokenizerBase, length: int, facts: LabelFacts
) -> tuple[list[Example], int]:
    """The examples of a labelled set, and how many of them were cut at `length` tokens, special ones included.

    A pair loses tokens from whichever of its texts is longer at the time (`longest_first` of transformers).
    """
    rows, cut = ExampleReader(tokenizer, length).read(labeled.texts, labeled.text_b)
    targets = labeled.scores if labeled.scores is not None else [facts.classes.index(one) for one in labeled.labels]
    examples = [Example(ids, types, float(target)) for (ids, types), target in zip(rows, targets, strict=True)]
    return examples, cut


class ExampleReader:
    """Texts, or pairs of them, as a classifier reads them: cut at `length` tokens, special ones included.

    A text without tokens becomes one padding token, so that every text gets a prediction.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        self.tokenizer, self.length, self.pad = tokenizer, length, padding_id(tokenizer)
        self.texts = TokenReader(tokenizer, length)

    def read(
        self, texts: Sequence[str], second: Sequence[str] | None = None
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
        """Token ids and token types of each text, or pair with `second`, (tokens,) int64; and how many were cut."""
        frame = self.texts.frame
        if second is None and frame is not None and frame.plain:
            rows, lengths, cut = self.texts.read(texts)
            types = np.zeros(max(1, int(lengths.max(initial=0))), np.int64)
            pad = np.array([self.pad], np.int64)
            return [(row, types[: len(row)]) if len(row) else (pad, types[:1]) for row in rows], cut
        sides: list[Any] = [list(texts)] if second is None else [list(texts), list(second)]
        options: Any = {"truncation": True, "max_length": self.length, "return_token_type_ids": True}
        encoded: Any = self.tokenizer(*sides, **options, verbose=False)
        pairs = [
            (np.array(ids or [self.pad], np.int64), np.array(types or [0], np.int64))
            for ids, types in zip(encoded["input_ids"], encoded["token_type_ids"], strict=True)
        ]
        if encoded.encodings is not None:
            return pairs, sum(bool(encoding.overflowing) for encoding in encoded.encodings)
        # a tokenizer in Python does not report what it cut; a text of exactly this length is counted too
        return pairs, sum(len(ids) == self.length for ids, _ in pairs)


@dataclass(frozen=True)
class ExampleDealing:
    """How the examples of a rank are dealt: similar lengths together, within limits."""

    limits: Limits

    def deal(self, views: Sequence[Example], first: int = 0) -> list[Examples]:
        """The micro-batches, from this rank's examples in their order. first: the place in the step of the first."""
        lengths = np.array([len(one.ids) for one in views], dtype=np.int64)
        dealt = deal_by_length(lengths, self.limits)
        return [stack_examples((first + places).tolist(), [views[place] for place in places]) for places in dealt]


class LabelPairs(InMemory):
    """An endless stream of pairs of training texts, for contrastive tuning (SetFit, arXiv:2209.11055, section 3).

    Each text in turn is paired with a random other text of its class, or with itself (under other dropout) where there
    is none. Pairs of one class are no negatives of each other. scored: every second pair is of two classes instead, and
    the pairs have the scores 1 and 0. texts: ids (tokens,) of each. fingerprint: of the labelled set.
    """

    def __init__(
        self, texts: Sequence[np.ndarray], labels: Sequence[str], seed: int, *, scored: bool, fingerprint: str
    ):
        super().__init__(range(len(texts)), seed, PAIRS)
        self.texts, self.labels, self.scored, self.fingerprint = texts, labels, scored, fingerprint
        self.facts = PairFacts(scored=scored)
        self.places = {label: np.array(places) for label, places in by_class(labels).items()}
        self.numbers = {name: number for number, name in enumerate(self.places)}

    @property
    def pairs(self) -> list[Pair]:
        """Every text once, for counts of tokens."""
        return [Pair(text, text[:0], []) for text in self.texts]

    def sample(self, index: int) -> Pair:
        left = int(super().sample(index // 2 if self.scored else index))
        rng, label = self.rng(index), self.labels[left]
        places = self.places[label]
        alike = not self.scored or index % 2 == 0
        if not alike:
            right = outside(places, int(rng.integers(len(self.labels) - len(places))))
        elif len(places) > 1:
            drawn = int(rng.integers(len(places) - 1))
            right = int(places[drawn + (places[drawn] >= left)])  # past the text itself
        else:
            right = left
        target = float(alike) if self.scored else None
        return Pair(self.texts[left], self.texts[right], [], target, source=self.numbers[label])


def outside(places: np.ndarray, number: int) -> int:
    """The number-th (from 0) of 0, 1, 2, ... that is not among places, which are sorted."""
    return number + int(np.searchsorted(places - np.arange(len(places)), number, side="right"))
