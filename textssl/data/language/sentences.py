"""Where sentences begin in a text, in many languages, the same on every machine.

A sentence ends at . ! ? … and closing quotation marks before whitespace, at the terminators of scripts that use no
space (。！？｡) or their own (؟ ۔ । ॥ ։ ። ។), and at a blank line. A full stop does not end one after a title or another
abbreviation, an initial, a number that opens a line, or before a lowercase letter: for English and unknown languages by
the rules below, for others by full_stops. Chinese and Japanese quotations and brackets are not split. Thai writes no
mark at the end of a sentence: there a space between two clauses counts.
"""

# ruff: noqa: RUF001, RUF002, SIM905 (signs that look like others are the subject; words are read best in a row)

from __future__ import annotations

import re
from bisect import bisect_left

from textssl.data.language.full_stops import FullStops, ends_enumeration
from textssl.data.language.languages import AUTO, UNKNOWN, language_of

CLOSING = "\"'”’»)\\]」』）》】›"
CLOSING_AFTER_LATIN = CLOSING + "“«‘‹"  # between a full stop and a space these close („Ja.“ »Ja.«)
OPENING = "\"'“‘«([¿¡「『（《【‹„‚»›*_-–—•"
ANYWHERE = "。！？｡؟۔।॥։።។"
ASCII_CLOSING = "\"')]"
# MARKS for ASCII; it begins with one set of characters, for which re has a fast search
ASCII_CANDIDATE = re.compile(rf"[.!?\n](?:(?<=\n)[^\S\n]*\n\s*|(?<!\n)([.!?]*)[{re.escape(ASCII_CLOSING)}]*\s+)")
MARKS = rf"""(?=[.!?…\n{ANYWHERE}])             # one set first: the scan is twice as fast
        (?:(?<![.!?…])([.!?…]+)[{CLOSING_AFTER_LATIN}]*(?:[^\S\n]+[»›](?!\w))?+\s+  # Latin ones, before whitespace
        |[{ANYWHERE}]+[{CLOSING}]*\s*        # these end a sentence wherever they stand
        |\n[^\S\n]*\n\s*)"""
CANDIDATE = re.compile(MARKS, re.VERBOSE)
THAI_LETTER = "[\u0e01-\u0e2e\u0e30-\u0e3a\u0e40-\u0e45\u0e47-\u0e4e]"  # not ๆ and ฯ, which a space follows anyway
THAI_CANDIDATE = re.compile(rf"(?:{MARKS}|(?<={THAI_LETTER}{{8}})[ \u200b]+(?={THAI_LETTER}{{8}}))", re.VERBOSE)
LONGEST_ABBREVIATION = 6
WHOLE_WORD = LONGEST_ABBREVIATION + 1  # a word of so many letters before a full stop is no abbreviation
OWN_RULES = ("en", UNKNOWN)

# Chinese and Japanese brackets, closed on the same line and not too far away: no sentence ends inside them
BRACKETS = re.compile(
    "|".join(f"{left}[^{left}{right}\n]{{0,400}}{right}" for left, right in ("「」", "『』", "（）", "《》", "【】"))
)
CHINESE_QUOTES = re.compile(BRACKETS.pattern + "|“[^“”\n]{0,400}”")
CONTINUED = re.compile(r"[，、；：。,;:]|と|って|を|の|が")  # after a quotation, where the sentence goes on

# never at the end of a sentence: something that belongs to them follows
TITLES = frozenset(
    "mr mrs ms mx dr prof rev hon sen rep gov gen col lt cmdr adm maj capt sgt cpl pvt pres amb st mt ft messrs "
    "mme mlle sr sra srta hr fr bzw ca vs viz cf e.g i.e z.b d.h u.a al fig figs eq eqs sec secs ch vol vols no nos "
    "nr pp art ed eds approx est dept univ incl resp".split()
)
# before a number: "Jan. 5", "p. 7"
BEFORE_NUMBERS = frozenset("jan feb mar apr jun jul aug sep sept oct nov dec p pp no nos nr vol ch fig".split())
# may end a sentence, and do if the next word is one that often opens a sentence
ABBREVIATIONS = frozenset(
    "inc ltd co corp llc plc bros jr sr etc a.m p.m ph.d b.a m.a m.d b.c a.d u.s u.k u.n e.u u.s.a d.c usw mass calif "
    "ave blvd rd".split()
)
SHORT_FORMS = TITLES | BEFORE_NUMBERS | ABBREVIATIONS
OPENERS = frozenset(
    "a an the this that these those it he she they we i you his her their our its my there here but and or so if when "
    "while after before although however in on at for from with by to as no not what who how why where".split()
)


def sentence_starts(text: str, language: str = AUTO) -> list[int]:
    """Character offsets at which sentences begin, in order; the first is that of the first non-space character.

    language: a code of textssl.data.language.languages; `auto` guesses it from the text.
    """
    size = len(text)
    first = size - len(text.lstrip())
    if first == size:
        return []
    language = language_of(text) if language == AUTO else language
    starts = [first]
    ascii_only = text.isascii()
    whole = [] if ascii_only else brackets(text, language)
    full_stops = None if language in OWN_RULES else FullStops(text, language)
    for candidate in (ASCII_CANDIDATE if ascii_only else candidates(language)).finditer(text, first):
        following = candidate.end()
        if following == size:
            break
        if whole and goes_on(text, candidate, starts[-1], whole):
            continue
        if candidate.group(1) is None or ends_sentence(text, candidate, starts[-1], full_stops):
            starts.append(following)
    return starts


def candidates(language: str) -> re.Pattern[str]:
    """What may end a sentence, with the whitespace after it."""
    return THAI_CANDIDATE if language == "th" else CANDIDATE


def brackets(text: str, language: str) -> list[tuple[int, int]]:
    """Bounds of the Chinese and Japanese quotations and brackets."""
    if not any(left in text for left in "「『（《【“"):
        return []
    pattern = CHINESE_QUOTES if language in ("zh", "ja") else BRACKETS
    return [bracket.span() for bracket in pattern.finditer(text)]


def goes_on(text: str, candidate: re.Match[str], sentence: int, whole: list[tuple[int, int]]) -> bool:
    """Whether a terminator stands inside brackets, or at their end in a sentence that goes on after them."""
    place = bisect_left(whole, (candidate.start(), 0)) - 1
    if place < 0 or whole[place][1] <= candidate.start():
        return False
    begin, end = whole[place]
    if candidate.end() < end:
        return True
    if text[begin] in "「『“":
        return CONTINUED.match(text, candidate.end()) is not None
    return begin != sentence


def ends_sentence(text: str, candidate: re.Match[str], sentence: int, full_stops: FullStops | None) -> bool:
    """Whether the sentence that began at `sentence` ends at a Latin terminator. full_stops: None for OWN_RULES."""
    stop, following = candidate.span()
    long = stop - WHOLE_WORD >= sentence and text[stop - WHOLE_WORD : stop].isalpha()
    if long and full_stops is None and text[following].isupper():  # the common case
        return True
    opened, last = following, len(text) - 1
    while opened < last and (text[opened] in OPENING or text[opened].isspace()):  # French: « Oui »
        opened += 1
    if text[opened].islower():
        return text.count("\n", stop, following) > 1
    if text[stop] != "." or candidate.end(1) > stop + 1:
        return True
    words = text[max(sentence, stop - 2 * LONGEST_ABBREVIATION) : stop].split()
    word = words[-1].lstrip(OPENING) if words else ""
    if full_stops is None:
        short = len(word) <= LONGEST_ABBREVIATION and (
            len(word) < 2 or word.lower() in SHORT_FORMS or not word.isalpha()
        )
        return (
            not short
            or text.count("\n", stop, following) > 1
            or ends_enumeration(text, stop, opened)
            or not stops_short(word, text, sentence, stop - len(word), opened)
        )
    if text.count("\n", stop, following) > 1:
        return True
    if is_initial(word) or is_label(word, stop - len(word), sentence):
        return False
    return full_stops.ends_sentence(stop, opened, word) or ends_enumeration(text, stop, opened)


def is_initial(word: str) -> bool:
    return len(word) == 1 and word.isalpha() and word.isupper() and word != "I"


def is_label(word: str, place: int, sentence: int) -> bool:
    """Whether `word` is the "1" or "a" of a label ("1.", "a.") with which an item of a list begins."""
    return place == sentence and (word.isdigit() or len(word) == 1)


def stops_short(word: str, text: str, sentence: int, place: int, following: int) -> bool:
    """Whether a full stop after `word` (at `place`) belongs to the word and does not end the sentence."""
    lower = word.lower()
    if lower in TITLES or is_initial(word) or is_label(word, place, sentence):
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
