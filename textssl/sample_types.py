"""What the data layer draws, one sample each, in numpy: rows, documents, pairs, labelled texts, and views of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

IGNORE = -100  # label of a position that is not predicted, as in torch's cross entropy
WORD_START, SENTENCE_START = 1, 2  # bits of a token's mark
MIXERS = tuple(map(np.uint64, (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)))  # of splitmix64
LONGEST_WORD = 16  # tokens of what is treated as one word; words of letters hardly ever have as many

Draws = Literal["rows", "documents", "sentences", "adjacent", "pairs", "labelled"]  # what a sample is


@dataclass(frozen=True)
class RowFormat:
    """The special tokens that an objective wants around text.

    prefix, suffix: ids around every piece of a document. end: ids that follow the last token of a document, and are
    predicted like text. pad: id of the padding.
    """

    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    pad: int = 0

    @property
    def overhead(self) -> int:
        """Special tokens of one piece."""
        return len(self.prefix) + len(self.suffix)


@dataclass
class Row:
    """One packed row, before and after an objective makes its view of it; every array is (length,).

    ids, documents, positions: as in Rows. marks: uint8, WORD_START and SENTENCE_START.
    special: bool, prefix, suffix and padding. labels: set by the objective, as are numbers where it has them: float32,
    one for each position, with a meaning of its own.
    """

    ids: np.ndarray
    documents: np.ndarray
    positions: np.ndarray
    marks: np.ndarray
    special: np.ndarray
    labels: np.ndarray | None = None
    numbers: np.ndarray | None = None


@dataclass
class Denoised:
    """A row of corrupted documents, and the row of what is to be written for each of them, without padding.

    Documents have the same numbers in both. text_tokens: labels of the target that are text. cut_tokens: tokens of
    targets that did not fit into the row.
    """

    source: Row
    target: Row
    text_tokens: int
    cut_tokens: int


@dataclass
class Document:
    """One tokenized document, or an excerpt of it, without special tokens: ids (tokens,) int64, marks (tokens,) uint8.

    source: equal for excerpts of one document; None where it is whole.
    """

    ids: np.ndarray
    marks: np.ndarray
    source: int | None = None


class ManyDocuments(Protocol):
    """The documents of a step as arrays, for views that are made of all of them at once."""

    @property
    def lengths(self) -> np.ndarray:
        """(documents,) int64, tokens of each."""
        ...

    def words(self, count: int) -> np.ndarray:
        """(documents, count) uint64, the first words of each document's own stream of random numbers."""
        ...

    def marks(self, places: np.ndarray) -> np.ndarray:
        """(documents, places) uint8: marks of tokens, 0 where there is none. places: (documents, places)."""
        ...

    def all_marks(self, number: int) -> np.ndarray:
        """(tokens,) uint8 of one document."""
        ...

    def texts(self, spans: np.ndarray) -> list[list[np.ndarray]]:
        """The ids (tokens,) int64 of spans of each document. spans: (documents, spans, 2), begin and end."""
        ...

    def sources(self) -> list[int]:
        """The source of each document, as in Views."""
        ...

    @property
    def one(self) -> Callable[[int], tuple[Document, np.random.Generator]]:
        """Gives a document by itself, by its number, and its generator."""
        ...


@dataclass
class Adjacent:
    """Two sentences of a document, one right after the other."""

    left: Document
    right: Document


@dataclass
class Pair:
    """A given pair of texts, their ids without special tokens, and what is known of it.

    negatives: texts that are no match for the first. target: a class number, or a score; None where there is neither.
    source: equal for pairs that must not repel each other (of one class); None: that of the first text.
    """

    left: np.ndarray
    right: np.ndarray
    negatives: list[np.ndarray]
    target: float | None = None
    source: int | None = None


@dataclass(frozen=True)
class PairFacts:
    """What all pairs of a file have. classes: their labels, sorted; empty where there are none. scored: have scores."""

    num_negatives: int = 0
    classes: tuple[str, ...] = ()
    scored: bool = False


@dataclass
class Views:
    """What an objective shows of one sample: texts to be embedded, in a fixed order.

    texts: ids (tokens,) int64 of each, without special tokens; None leaves a place empty (a pair without a negative).
    source: a number that is equal for samples of equal content, which then never repel each other. target: a class
    number or a score, where the sample has one.
    """

    texts: list[np.ndarray | None]
    source: int
    target: float = float("nan")


@dataclass
class Example:
    """One labelled text, or pair of texts, as a classifier reads it.

    ids, types: (tokens,) int64, special tokens included; types are 1 on the second text of a pair. target: class number
    or score.
    """

    ids: np.ndarray
    types: np.ndarray
    target: float


@dataclass(frozen=True)
class LabelFacts:
    """What a classifier is to learn: classes with the training examples of each, or (no classes) scores.

    mean, deviation: of the training scores.
    """

    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True)
class ScoreUnit:
    """What scores are learned in: raw = mean + deviation * standardised; by default, raw scores themselves."""

    mean: float = 0.0
    deviation: float = 1.0

    def standardised(self, raw: Any) -> Any:
        """float64 scores (numpy or torch) in deviations from the mean, rounded to 1e-6.

        The last bits depend on what the scores are measured in; what is learned from them must not.
        """
        return ((raw - self.mean) / self.deviation * 1e6).round() / 1e6

    def raw(self, standardised: Any) -> Any:
        """float64 scores as the labels have them."""
        return self.mean + self.deviation * standardised


def cut_long_words(starts: np.ndarray) -> np.ndarray:
    """Where words start, (tokens,) bool, with those of more than LONGEST_WORD tokens cut into pieces of as many.

    In scripts without spaces between words, what a pre-tokenizer leaves whole is a clause or, with Metaspace, all of a
    document. starts: (tokens,) bool, True at the first token.
    """
    places = np.arange(len(starts))
    within = places - np.maximum.accumulate(np.where(starts, places, 0))
    return within % LONGEST_WORD == 0


def content_keys(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(texts,) int64, for each text what `content_key` is for one, in other numbers.

    ids: (tokens,) int64 of the texts, one after another. lengths: (texts,) int64.
    """
    starts = lengths.cumsum() - lengths
    place = (np.arange(len(ids)) - np.repeat(starts, lengths)).astype(np.uint64)
    of_tokens = mixed(mixed(place + MIXERS[0]) + ids.astype(np.uint64))
    running = np.concatenate([np.zeros(1, np.uint64), of_tokens.cumsum()])
    sums = running[starts + lengths] - running[starts]  # modulo 2^64
    return (mixed(sums + lengths.astype(np.uint64)) >> np.uint64(1)).astype(np.int64)


def mixed(values: np.ndarray) -> np.ndarray:
    """Every bit of a uint64 spread over all bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * MIXERS[0]
    values = (values ^ (values >> np.uint64(27))) * MIXERS[1]
    return values ^ (values >> np.uint64(31))


def content_key(ids: np.ndarray) -> int:
    """A number below 2^63 that is the same for the same ids, and in all likelihood for no others."""
    return int.from_bytes(hashlib.blake2b(ids.tobytes(), digest_size=8).digest(), "big") >> 1
