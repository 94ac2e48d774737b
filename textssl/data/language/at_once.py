"""Languages and sentences of many texts by arrays, in about half the time where texts are plain.

Each function gives what `language_of` and `sentence_starts` give for each text by itself. Arrays decide what is plain:
English by its commonest words, and sentences that end in a full stop after a word that is no abbreviation, before a
space and a capital. The rules for one text decide the rest, mark by mark in ASCII.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from textssl.data.language.languages import FOREIGN_WORDS, GUESS_CHARACTERS, LATIN, WORDS_OF, language_of
from textssl.data.language.sentences import (
    ASCII_CANDIDATE,
    ASCII_CLOSING,
    OPENING,
    OWN_RULES,
    SHORT_FORMS,
    WHOLE_WORD,
    ends_sentence,
    sentence_starts,
)

LONGEST = 8  # letters that are compared at once, as one integer: more than any known word has
MASKS = np.array([256**size - 1 for size in range(LONGEST + 1)], dtype=np.uint64)
TO_SMALL = np.uint64(0x2020202020202020)  # of LONGEST letters
LONGEST_TEXT = 2**16  # whose sentences arrays find, for the sake of memory
SLOT_BITS = 16
BETWEEN = "\0"  # texts; one that holds it is not plain


def table(characters: Iterable[str]) -> np.ndarray:
    """(256,) bool, by byte."""
    found = np.zeros(256, dtype=bool)
    found[list(map(ord, characters))] = True
    return found


ASCII = [chr(code) for code in range(128)]
SPACE, DIGIT = (table(filter(kind, ASCII)) for kind in (str.isspace, str.isdigit))
CAPITAL, SMALL = (table(filter(kind, ASCII)) for kind in (str.isupper, str.islower))
WORD = ~(SPACE | table(".," + BETWEEN))
NO_OPENING = SPACE | table(BETWEEN)
WITHIN = table(ASCII) & ~SPACE & ~table(filter(str.isascii, OPENING + "." + BETWEEN))  # a word that no rule splits
MARK = table(".!?\n")
OPEN = SPACE | table(".!?" + ASCII_CLOSING)  # what has to follow a mark if a sentence is to end there


class Plain(NamedTuple):
    """Texts in ASCII, one after another, with a BETWEEN or more before and after each.

    which: their indices among all texts. data: the bytes. firsts: (texts,) where each begins in data.
    """

    which: list[int]
    data: bytes
    firsts: np.ndarray

    def lower(self) -> Plain:
        return self._replace(data=self.data.lower())

    @property
    def codes(self) -> np.ndarray:
        """(bytes,) uint8."""
        return np.frombuffer(self.data, np.uint8)

    def are(self, kind: np.ndarray) -> np.ndarray:
        """(bytes,) bool, whether each is of a kind, which is a table."""
        return np.frombuffer(self.data.translate(kind.tobytes()), bool)

    @classmethod
    def of(cls, texts: Sequence[str], among: Iterable[int]) -> Plain:
        """among: indices of the texts that are wanted if they are plain."""
        which = [index for index in among if texts[index].isascii() and BETWEEN not in texts[index]]
        chosen = [texts[index] for index in which]
        margin = BETWEEN * LONGEST
        data = f"{margin}{BETWEEN.join(chosen)}{margin}".encode("ascii")
        sizes = np.array(list(map(len, chosen)), dtype=np.int64) + len(BETWEEN)
        return cls(which, data, LONGEST + np.cumsum(sizes) - sizes)

    def words(self, places: np.ndarray) -> np.ndarray:
        """(places,) uint64: the LONGEST bytes that begin at each place, the first in the lowest bits."""
        everywhere = np.ndarray(len(self.data) - LONGEST + 1, "<u8", self.data, strides=(1,))
        return everywhere[places]


def as_word(letters: str) -> int:
    return int.from_bytes(letters.encode("ascii"), "little")


class KnownWords:
    """The words of LATIN that are written in ASCII, in a table without collisions.

    words: they. slots: (2 ** SLOT_BITS,) uint64, a word as an integer at its slot, else 0. numbers: of its place in
    `words`, at its slot.
    """

    def __init__(self) -> None:
        self.words = [word for word in WORDS_OF[id(LATIN)] if word.isascii()]
        values = np.array([as_word(word) for word in self.words], dtype=np.uint64)
        self.factor = np.uint64(0x9E3779B97F4A7C15)
        while len(np.unique(self.slot(values))) < len(values):
            self.factor += np.uint64(2)
        self.slots = np.zeros(2**SLOT_BITS, dtype=np.uint64)
        self.slots[self.slot(values)] = values
        self.numbers = np.zeros(2**SLOT_BITS, dtype=np.int64)
        self.numbers[self.slot(values)] = np.arange(len(values))

    def slot(self, values: np.ndarray) -> np.ndarray:
        return (values * self.factor) >> np.uint64(64 - SLOT_BITS)


KNOWN_WORDS = KnownWords()


@cache
def votes(language: str) -> np.ndarray:
    """(known words,) 1 for those that the language alone has, -1 for those that it lacks, else 0."""
    foreign, alone = FOREIGN_WORDS[language]
    return np.array([(word in alone) - (word in foreign) for word in KNOWN_WORDS.words])


def languages_of(texts: Sequence[str], corpus: str) -> list[str]:
    """The code of each text's language. corpus: as in language_of."""
    if corpus not in LATIN:
        return [language_of(text, corpus) for text in texts]
    plain = Plain.of([text[:GUESS_CHARACTERS] for text in texts], range(len(texts))).lower()
    inside = plain.are(WORD)
    changes = np.flatnonzero(inside[1:] != inside[:-1]) + 1  # a word begins, ends, begins, ...
    starts, sizes = changes[::2], np.minimum(changes[1::2] - changes[::2], LONGEST)
    words = plain.words(starts) & MASKS[sizes]  # a longer one is none of the known, whose letters end before that
    slots = KNOWN_WORDS.slot(words)
    known = np.flatnonzero(KNOWN_WORDS.slots[slots] == words)
    owners = np.searchsorted(plain.firsts, starts[known], side="right") - 1
    count = len(KNOWN_WORDS.words)
    pairs = np.sort(owners * count + KNOWN_WORDS.numbers[slots[known]])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # a word counts once in a text
    ahead = np.bincount(pairs // count, votes(corpus)[pairs % count], len(plain.which)) >= 0
    sure = dict(zip(plain.which, ahead.tolist(), strict=True))
    return [corpus if sure.get(index) else language_of(text, corpus) for index, text in enumerate(texts)]


class Starts(NamedTuple):
    """Where the sentences of texts begin. places: (sentences,) int64, each in its own text, in order, text after text;
    counts: (texts,) int64, the sentences of each."""

    places: np.ndarray
    counts: np.ndarray

    def lists(self) -> list[list[int]]:
        """For each text, where its sentences begin."""
        places, stops = self.places.tolist(), np.cumsum(self.counts).tolist()
        return [places[first:stop] for first, stop in pairwise([0, *stops])]


def sentence_starts_of(texts: Sequence[str], languages: Sequence[str]) -> Starts:
    """Where the sentences of each text begin. languages: of the texts."""
    among = [place for place, text in enumerate(texts) if languages[place] in OWN_RULES and len(text) <= LONGEST_TEXT]
    plain = Plain.of(texts, among)
    codes, firsts, which = plain.codes, plain.firsts, np.array(plain.which, dtype=np.int64)
    marks = np.flatnonzero(plain.are(MARK))
    marks = marks[OPEN[codes[marks + 1]]]
    spaced = (codes[marks] != ord("\n")) & (codes[marks + 1] == ord(" "))
    marks = marks[~(spaced & SMALL[codes[marks + 2]])]
    ends = (codes[marks] == ord(".")) & (codes[marks + 1] == ord(" ")) & CAPITAL[codes[marks + 2]]
    ends[ends] = follows_whole_word(plain, marks[ends])
    owners = np.searchsorted(firsts, marks, side="right") - 1
    marks -= firsts[owners]
    is_open = NO_OPENING[codes[firsts]]
    is_open[owners[~ends]] = True
    sure = ~is_open[owners]
    bounds = np.cumsum([0, *np.bincount(owners, minlength=len(firsts))])
    rest = dict[int, list[int]]()  # of texts that arrays do not decide
    for place in np.flatnonzero(is_open).tolist():
        mine = slice(bounds[place], bounds[place + 1])
        rest[plain.which[place]] = decided(texts[plain.which[place]], marks[mine].tolist(), ends[mine].tolist())
    for index in sorted(set(range(len(texts))).difference(plain.which)):
        rest[index] = sentence_starts(texts[index], languages[index])
    begins = which[~is_open]
    indices = np.concatenate([begins, which[owners[sure]], np.repeat(as_integers(rest), list(map(len, rest.values())))])
    places = np.concatenate([np.zeros_like(begins), marks[sure] + 2, as_integers(chain.from_iterable(rest.values()))])
    return Starts(places[np.lexsort((places, indices))], np.bincount(indices, minlength=len(texts)))


def as_integers(numbers: Iterable[int]) -> np.ndarray:
    return np.array(list(numbers), dtype=np.int64)


def decided(text: str, marks: list[int], whole: list[bool]) -> list[int]:
    """Where the sentences of a plain text begin. marks: what may end one, and `whole`, what ends one for sure."""
    size = len(text)
    first = end = size - len(text.lstrip())
    starts = [first] if first < size else []
    for mark, sure in zip(marks, whole, strict=True):
        if mark < end:  # part of what was decided last
            continue
        if sure:
            end = mark + 2
            starts.append(end)
        elif (candidate := ASCII_CANDIDATE.match(text, mark)) is not None:
            end = candidate.end()
            if end < size and (candidate.group(1) is None or ends_sentence(text, candidate, starts[-1], None)):
                starts.append(end)
    return starts


def follows_whole_word(plain: Plain, stops: np.ndarray) -> np.ndarray:
    """(stops,) bool, whether the word before a full stop is one after which every rule for English lets a sentence end,
    if a space and a capital follow: a long one, a short one that is none of SHORT_FORMS, a number after another word,
    or one that ends in a closing bracket."""
    codes = plain.codes
    sizes, unbroken = np.zeros((2, len(stops)), dtype=np.int64), np.ones((2, len(stops)), dtype=bool)
    for back in range(1, WHOLE_WORD + 1):
        last = codes[stops - back]
        unbroken &= np.stack([WITHIN[last], DIGIT[last]])
        sizes += unbroken
    size, digits = sizes  # characters of the word, and of the number
    space = codes[stops - 1 - size] == ord(" ")
    number = (digits == size) & SMALL[codes[stops - 2 - size]]
    short = space & (size > 1) & (size < WHOLE_WORD) & (digits < size)
    words = plain.words(stops[short] - size[short]) | TO_SMALL
    words &= MASKS[size[short]]
    nearest = np.minimum(np.searchsorted(SHORT_WORDS, words), len(SHORT_WORDS) - 1)
    short[short] = SHORT_WORDS[nearest] != words
    bracket = (codes[stops - 1] == ord(")")) & (CAPITAL | SMALL | DIGIT)[codes[stops - 2]]
    return (size == WHOLE_WORD) | short | bracket | (space & number & (size > 0))


SHORT_WORDS = np.sort(np.array([as_word(form) for form in SHORT_FORMS if form.isalpha()], dtype=np.uint64))
