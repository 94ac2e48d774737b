"""Rules that the documents of a corpus must keep: length, patterns, language, little repetition, no near-duplicates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from typing import Any, NamedTuple

from textssl.data.corpus.cleaning.repetition import repetitions
from textssl.data.language.languages import KNOWN, UNKNOWN, language_of
from textssl.errors import UserError, excerpt

TOO_SHORT = "too short"
TOO_LONG = "too long"
MATCHING = "matches --drop-matching"
NOT_MATCHING = "no match of --keep-matching"
OTHER_LANGUAGE = "other language"
REPETITION = "repetition"
NEAR_DUPLICATE = "near-duplicate"
LEAST_SIMILAR = 0.5  # the lowest threshold: texts less similar are no near-duplicates
SHOWN_CHARACTERS = 40


class Fault(NamedTuple):
    """Why a document is dropped: the reason that it is counted under, and the details of this case."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Cleaning:
    """The rules for every document; None or False: no such rule. Raises UserError for an option that is out of range.

    min_characters, max_characters: its length. keep_languages: codes; the language guessed for it must be among them.
    drop_repetitive: it must not repeat itself (textssl.data.corpus.cleaning.repetition). keep_matching, drop_matching:
    regular expressions that must, and must not, match anywhere in it. near_duplicates: a document with this Jaccard
    similarity or more to an earlier one is dropped.
    """

    min_characters: int | None = None
    max_characters: int | None = None
    keep_languages: tuple[str, ...] | None = None
    drop_repetitive: bool = False
    keep_matching: str | None = None
    drop_matching: str | None = None
    near_duplicates: float | None = None

    def __post_init__(self) -> None:
        for name in ("min_characters", "max_characters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{option(name)} is {value}, it must be at least 1")
        if self.min_characters and self.max_characters and self.min_characters > self.max_characters:
            raise UserError(f"--min-characters {self.min_characters} is above --max-characters {self.max_characters}")
        for code in self.keep_languages or ():
            if code not in KNOWN:
                raise UserError(f"--keep-languages has {code!r}, it takes codes of {', '.join(KNOWN)}, with commas")
        if self.near_duplicates is not None and not LEAST_SIMILAR <= self.near_duplicates <= 1:
            raise UserError(f"--near-duplicates is {self.near_duplicates}, it must be from {LEAST_SIMILAR} to 1")
        for name in ("keep_matching", "drop_matching"):
            try:
                re.compile(getattr(self, name) or "")
            except re.error as error:
                pattern = excerpt(getattr(self, name))
                raise UserError(f"{option(name)} {pattern} is not a valid regular expression: {error}") from None

    def faults(self, texts: Sequence[str], main_language: str = UNKNOWN) -> list[Fault | None]:
        """For each text the first rule that it breaks, or None; near-duplicates are found elsewhere.

        main_language: taken for a text that is too short for a guess.
        """
        found: list[Fault | None] = [None] * len(texts)
        if checks := list(self.checks(main_language)):
            found = [next((fault for check in checks if (fault := check(text))), None) for text in texts]
        if self.drop_repetitive:
            rest = [place for place, fault in enumerate(found) if fault is None]
            for place, detail in zip(rest, repetitions([texts[place] for place in rest]), strict=True):
                found[place] = Fault(REPETITION, detail) if detail else None
        return found

    def checks(self, main_language: str) -> Iterator[Callable[[str], Fault | None]]:
        """The checks that need a single text only, the cheapest first."""
        least, most = self.min_characters or 0, self.max_characters or math.inf
        patterns = (self.drop_matching, self.keep_matching)
        dropping, keeping = (None if pattern is None else re.compile(pattern) for pattern in patterns)

        def length(text: str) -> Fault | None:
            if least <= len(text) <= most:
                return None
            return Fault(TOO_SHORT if len(text) < least else TOO_LONG, f"{len(text):,} characters")

        def unwanted(text: str) -> Fault | None:
            match = dropping.search(text) if dropping else None
            return Fault(MATCHING, shown(match[0])) if match else None

        def wanted(text: str) -> Fault | None:
            return None if keeping is None or keeping.search(text) else Fault(NOT_MATCHING, shown(text))

        def language(text: str) -> Fault | None:
            code = language_of(text, main_language)
            return None if code in (self.keep_languages or ()) else Fault(OTHER_LANGUAGE, f"{code}: {shown(text)}")

        given = (least or most < math.inf, dropping, keeping, self.keep_languages)
        return compress((length, unwanted, wanted, language), given)

    def given(self) -> dict[str, Any]:
        """The rules that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None and value is not False}


def shown(text: str) -> str:
    """The beginning of a text, as an example of what was dropped."""
    return excerpt(text[: 2 * SHOWN_CHARACTERS], SHOWN_CHARACTERS)


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
