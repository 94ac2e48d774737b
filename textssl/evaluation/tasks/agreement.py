"""Pairs of sentences that differ in one word's number, made by a small grammar of common English words.

Every pair stands beside its mirror, which has the same words with singular and plural exchanged: what is right in the
one is wrong in the other. So no preference for a word or for a length, however it was learned, gets more than half of
them right; only the word that governs the number decides. In the phenomena `prepositional` and `relative` a noun of
the other number stands between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

T = TypeVar("T")
PAIRS = 60  # of each phenomenon, mirrors among them


class Pair(NamedTuple):
    """A sentence and the same with one wrong word."""

    good: str
    bad: str
    phenomenon: str


class Word(NamedTuple):
    """A word in both numbers."""

    one: str
    many: str

    def number(self, plural: bool) -> str:
        return self.many if plural else self.one


PEOPLE = [
    *(Word("man", "men"), Word("woman", "women"), Word("child", "children"), Word("friend", "friends")),
    *(Word("player", "players"), Word("leader", "leaders"), Word("doctor", "doctors"), Word("student", "students")),
    *(Word("teacher", "teachers"), Word("worker", "workers"), Word("officer", "officers"), Word("driver", "drivers")),
]
GENDERED = [  # with the singular of what refers back to them
    *((Word("man", "men"), "himself"), (Word("boy", "boys"), "himself"), (Word("father", "fathers"), "himself")),
    *((Word("son", "sons"), "himself"), (Word("king", "kings"), "himself"), (Word("brother", "brothers"), "himself")),
    *((Word("woman", "women"), "herself"), (Word("girl", "girls"), "herself"), (Word("sister", "sisters"), "herself")),
    *((Word("mother", "mothers"), "herself"), (Word("queen", "queens"), "herself")),
    (Word("daughter", "daughters"), "herself"),
]
THINGS = [
    *(Word("car", "cars"), Word("house", "houses"), Word("book", "books"), Word("door", "doors")),
    *(Word("picture", "pictures"), Word("table", "tables"), Word("building", "buildings"), Word("road", "roads")),
    *(Word("school", "schools"), Word("river", "rivers"), Word("tree", "trees"), Word("letter", "letters")),
]
FORMS = [Word("is", "are"), Word("was", "were")]
STATES = ["here", "there", "old", "new", "known", "gone", "good", "big", "small", "important", "different", "ready"]
VERBS = [
    *(Word("works", "work"), Word("lives", "live"), Word("plays", "play"), Word("knows it", "know it")),
    *(Word("likes it", "like it"), Word("has a plan", "have a plan"), Word("wants more", "want more")),
    *(Word("says so", "say so"), Word("needs help", "need help"), Word("comes home", "come home")),
]
PLACES = ["near", "behind", "with", "by", "next to"]
SIGHTS = [Word("sees", "see"), Word("likes", "like"), Word("knows", "know"), Word("helps", "help")]
DEEDS = ["saw", "helped", "hurt", "asked", "called", "found", "knew", "told us about"]
MEETINGS = ["We saw", "They want", "I like", "She found", "He wants", "You need"]
DETERMINERS = [Word("this", "these"), Word("that", "those")]
NUMBERS = ["two", "three", "four", "five", "some", "many"]
INSIDE = ["in the city", "in the park", "on the street", "in this country", "at the end", "on the other side"]


def agreement_pairs(pairs: int = PAIRS, seed: int = 0) -> list[Pair]:
    """`pairs` different pairs of each phenomenon, a pair and its mirror one after the other.

    A function of its arguments alone. pairs: even.
    """
    assert pairs % 2 == 0, "every pair has a mirror"
    return [pair for name in PHENOMENA for pair in _pairs(name, pairs, seed)]


def _pairs(phenomenon: str, count: int, seed: int) -> Iterator[Pair]:
    make = PHENOMENA[phenomenon]
    rng = np.random.default_rng([seed, list(PHENOMENA).index(phenomenon)])
    seen: set[str] = set()
    while len(seen) < count:
        first, second = make(rng)
        if first[0] not in seen:
            for good, bad in (first, second):
                seen.add(good)
                yield Pair(_sentence(good), _sentence(bad), phenomenon)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


Made = tuple[tuple[str, str], tuple[str, str]]  # good and bad, and those of the mirror


def _mirrored(sentence: Callable[[bool, bool], str]) -> Made:
    """sentence: makes one from the number of the governing word (True: plural) and of the word that must agree."""
    return (sentence(False, False), sentence(False, True)), (sentence(True, True), sentence(True, False))


def _choice(rng: np.random.Generator, words: list[T]) -> T:
    return words[rng.integers(len(words))]


def _predicate(rng: np.random.Generator, alive: bool) -> Word:
    """`is old`, or for people also `works`."""
    if alive and rng.random() < 0.5:
        return _choice(rng, VERBS)
    form, state = _choice(rng, FORMS), _choice(rng, STATES)
    return Word(f"{form.one} {state}", f"{form.many} {state}")


def _simple(rng: np.random.Generator) -> Made:
    """The man works. / The man work."""
    alive = rng.random() < 0.5
    subject, predicate = _choice(rng, PEOPLE if alive else THINGS), _predicate(rng, alive)
    return _mirrored(lambda governs, agrees: f"the {subject.number(governs)} {predicate.number(agrees)}")


def _prepositional(rng: np.random.Generator) -> Made:
    """The man near the cars works. / The man near the cars work."""
    alive = rng.random() < 0.5
    subject, place, other = _choice(rng, PEOPLE if alive else THINGS), _choice(rng, PLACES), _choice(rng, THINGS)
    if subject == other:
        return _prepositional(rng)
    predicate = _predicate(rng, alive)
    return _mirrored(
        lambda governs, agrees: (
            f"the {subject.number(governs)} {place} the {other.number(not governs)} {predicate.number(agrees)}"
        )
    )


def _relative(rng: np.random.Generator) -> Made:
    """The man that the doctors know works. / The man that sees the doctors work."""
    subject, other, sight = _choice(rng, PEOPLE), _choice(rng, PEOPLE), _choice(rng, SIGHTS)
    if subject == other:
        return _relative(rng)
    of_object, predicate = rng.random() < 0.5, _predicate(rng, True)

    def sentence(governs: bool, agrees: bool) -> str:
        noun = f"the {other.number(not governs)}"
        clause = f"{noun} {sight.number(not governs)}" if of_object else f"{sight.number(governs)} {noun}"
        return f"the {subject.number(governs)} that {clause} {predicate.number(agrees)}"

    return _mirrored(sentence)


def _determiner(rng: np.random.Generator) -> Made:
    """We saw this car. / We saw these car."""
    start, determiner, noun = _choice(rng, MEETINGS), _choice(rng, DETERMINERS), _choice(rng, [*THINGS, *PEOPLE])
    return _mirrored(lambda governs, agrees: f"{start} {determiner.number(agrees)} {noun.number(governs)}")


def _existential(rng: np.random.Generator) -> Made:
    """There is a car in the city. / There are a car in the city."""
    form, noun, place, many = _choice(rng, FORMS), _choice(rng, THINGS), _choice(rng, INSIDE), _choice(rng, NUMBERS)
    return _mirrored(
        lambda governs, agrees: (
            f"there {form.number(agrees)} {many if governs else 'one'} {noun.number(governs)} {place}"
        )
    )


def _reflexive(rng: np.random.Generator) -> Made:
    """The girl hurt herself. / The girl hurt themselves."""
    (subject, own), deed = _choice(rng, GENDERED), _choice(rng, DEEDS)
    reflexive = Word(own, "themselves")
    return _mirrored(lambda governs, agrees: f"the {subject.number(governs)} {deed} {reflexive.number(agrees)}")


PHENOMENA: dict[str, Callable[[np.random.Generator], Made]] = {
    "simple": _simple,
    "prepositional": _prepositional,
    "relative": _relative,
    "determiner": _determiner,
    "existential": _existential,
    "reflexive": _reflexive,
}
