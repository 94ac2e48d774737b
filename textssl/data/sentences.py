"""Where sentences begin in a text: rules without dependencies, the same on every machine.

A sentence ends at . ! ? … and closing quotes before whitespace, at the terminators of scripts that use no space
(。！？｡) or their own (؟ ۔ । ॥ ։ ። ។), and at a blank line. A full stop does not end one after a title or another
abbreviation, an initial, a number that opens a line, or before a lowercase letter.
"""

# ruff: noqa: RUF001, RUF002, SIM905 (signs that look like others are the subject; words are read best in a row)

from __future__ import annotations

import re

CLOSING = "\"'”’»)\\]」』）》】›"
OPENING = "\"'“‘«([¿¡「『（《【‹„*_-–—•"
ANYWHERE = "。！？｡؟۔।॥։።။"
ASCII_CANDIDATE = re.compile(r"""(?=[.!?\n])(?:([.!?]+)["')\]]*\s+|\n[^\S\n]*\n\s*)""")  # the same, faster
CANDIDATE = re.compile(
    rf"""(?=[.!?…\n{ANYWHERE}])               # one set first: the scan is twice as fast
        (?:([.!?…]+)[{CLOSING}]*\s+          # Latin terminators count before whitespace only
        |[{ANYWHERE}]+[{CLOSING}]*\s*        # these end a sentence wherever they stand
        |\n[^\S\n]*\n\s*)""",
    re.VERBOSE,
)  # fmt: skip
LONGEST_ABBREVIATION = 6

# never at the end of a sentence: something that belongs to them follows
TITLES = frozenset(
    "mr mrs ms mx dr prof rev hon sen rep gov gen col lt cmdr adm maj capt sgt cpl pvt pres amb st mt ft messrs "
    "mme mlle sr sra srta hr fr bzw ca vs viz cf e.g i.e z.b d.h u.a al fig figs eq eqs sec secs ch vol vols no nos "
    "nr pp art ed eds approx est dept univ incl resp".split()
)
# before a number: "Jan. 5", "p. 7"
BEFORE_NUMBERS = frozenset("jan feb mar apr jun jul aug sep sept oct nov dec p pp no nos nr vol ch fig".split())
# may end a sentence: they do where the next word is one that often opens one
ABBREVIATIONS = frozenset(
    "inc ltd co corp llc plc bros jr sr etc a.m p.m ph.d b.a m.a m.d b.c a.d u.s u.k u.n e.u u.s.a d.c usw mass calif "
    "ave blvd rd".split()
)
SHORT_FORMS = TITLES | BEFORE_NUMBERS | ABBREVIATIONS
OPENERS = frozenset(
    "a an the this that these those it he she they we i you his her their our its my there here but and or so if when "
    "while after before although however in on at for from with by to as no not what who how why where".split()
)


def sentence_starts(text: str) -> list[int]:
    """Character offsets at which sentences begin, in order; the first is that of the first non-space character."""
    first = len(text) - len(text.lstrip())
    if first == len(text):
        return []
    starts = [first]
    for candidate in (ASCII_CANDIDATE if text.isascii() else CANDIDATE).finditer(text, first):
        following = candidate.end()
        if following == len(text):
            break
        if candidate.group(1) is None or ends_sentence(text, candidate, starts[-1], following):
            starts.append(following)
    return starts


def ends_sentence(text: str, candidate: re.Match[str], sentence: int, following: int) -> bool:
    """Whether the sentence that began at `sentence` ends at a Latin terminator, when `following` comes after it."""
    terminator, stop = candidate.group(1), candidate.start()
    opened = following
    while text[opened] in OPENING and opened < len(text) - 1:
        opened += 1
    if text[opened].islower():
        return text.count("\n", stop, following) > 1
    if terminator != ".":
        return True
    words = text[max(sentence, stop - 2 * LONGEST_ABBREVIATION) : stop].split()
    word = words[-1].lstrip(OPENING) if words else ""
    if len(word) > LONGEST_ABBREVIATION or (len(word) > 1 and word.isalpha() and word.lower() not in SHORT_FORMS):
        return True
    if text.count("\n", stop, following) > 1:
        return True
    return not stops_short(word, text, sentence, stop - len(word), opened)


def stops_short(word: str, text: str, sentence: int, place: int, following: int) -> bool:
    """Whether a full stop after `word` (at `place`) belongs to the word alone."""
    lower = word.lower()
    if lower in TITLES or (len(word) == 1 and word.isalpha() and word.isupper() and word != "I"):
        return True
    if place == sentence and (word.isdigit() or len(word) == 1):  # "1. First", "a. First": the label of a list
        return True
    if lower in BEFORE_NUMBERS and text[following : following + 1].isdigit():
        return True
    if lower in ABBREVIATIONS or is_acronym(word):
        opener = re.compile(r"\w+").match(text, following)
        return opener is None or opener.group().lower() not in OPENERS
    return False


def is_acronym(word: str) -> bool:
    """U.S, J.R.R: single letters between full stops."""
    letters = word.split(".")
    return len(letters) > 1 and all(len(letter) == 1 and letter.isalpha() for letter in letters)
