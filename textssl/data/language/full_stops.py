"""Whether a full stop ends a sentence, in languages other than English: sentencex's rules, and what they lack.

sentencex (https://github.com/wikimedia/sentencex) knows the abbreviations, dates and initials of some 300 languages. It
is given the text with quotation marks, brackets, bullets, control characters and line breaks each replaced by a space,
so that its offsets are ours, it pairs no quotation marks (an unmatched one would hide every sentence up to the next),
and no character makes it fail.
"""

# ruff: noqa: RUF001, RUF003, SIM905 (signs that look like others are the subject; words are read best in a row)

from __future__ import annotations

import re
from bisect import bisect_right

from sentencex import segment  # type: ignore[attr-defined]

PIECE_CHARACTERS = 2**16  # sentencex reads a long text in pieces of at least this size
NUMBER = re.compile(r"\. \d")  # sentencex would never begin a sentence with a number
SAFE_SPACE = re.compile(r"(?<=[^\W\d_]{2}) (?=[^\W\d_]{2})")  # between two words: no full stop is near
SEARCHED = 2**12  # characters in which such a place is looked for
BLANKED = re.compile(
    "["
    + re.escape("\"'`´‘’‚‛“”„‟«»‹›()[]{}<>（）「」『』《》【】〈〉")
    + "•◦▪▫■□●○⁃⁌⁍◆◇★☆➤➢➣▶▸►"  # bullets of lists, whose sentences sentencex would not split
    + "\x00-\x1f\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2060\u3000\ufeff\ud800-\udfff]"
)

# never at the end of a sentence: a name or a number belongs to them
TITLES = {
    language: frozenset(words.split())
    for language, words in {
        "de": "hr fr frl dr prof dipl ing hl st ca bzw vgl nr abs abschn anm z.b d.h",
        "fr": "m mm mme mmes mlle mlles dr me pr st ste art p pp cf ex chap fig n° vol av bd",
        "es": "sr sra sres srta dr dra d dña ud uds prof pág págs art núm cap fig ee p.ej",
        "it": "sig sigg dr dott prof ing avv art pag pagg fig cap vol es p.es",
        "pt": "sr sra dr dra prof profa art pág págs núm fig cap av ex p.ex",
        "nl": "dhr mevr dr prof ir mr drs ing blz bijv nr art fig st",
        "pl": "dr prof ul al ks inż mgr np tzw pkt nr str św",
        "cs": "dr ing mgr prof např tzv str ul sv č",
        "sv": "dr prof t.ex bl.a s.k kl nr st kap",
        "da": "dr prof f.eks bl.a kl nr hr fr kap",
        "nb": "dr prof f.eks bl.a kl nr hr kap",
        "ru": "рис табл стр см ул гл им проф акад ср напр пл просп пр-т д-р",
        "uk": "рис табл див вул гл ім проф акад напр пл",
        "ar": "د أ م ص ق ه",
        "hi": "डॉ डा प्रो श्री पं कु क्र सं",
        "mr": "डॉ प्रा श्री क्र",
    }.items()
}
# before a number: "Abb. 3", in any language
BEFORE_NUMBERS = frozenset(
    "abb tab kap bd fn rn rdnr ziff aufl jg bl pos tel max inkl exkl zzgl okt dez mrz lit nrn anl az bsp kl str janv "
    "févr juil sept oct nov déc ed aprox num vol afb art rozdz rys poz ok godz čl odst pàg bkz cilt hal ст ок прим тел "
    "पृ رقم".split()
)
# words that sentencex mistakes for abbreviations: "Dijo que no. Se fue."
WORDS = {"es": ("no",), "it": ("no",), "pt": ("no",), "ca": ("no",)}
# these end an enumeration, and before a capital letter the sentence as well
LAST = re.compile(
    r"(?<!\w)(?:usw|etc|ecc|enz|osv|itd|itp|atd|и др|и пр|(?:и|и т|и\sт\.)\s?(?:т\. ?)?[дп]|u\. ?dgl)$", re.IGNORECASE
)
ORDINALS = frozenset("de da nb cs sk pl hu fi".split())  # "der 2. Weltkrieg"
ORDINAL = re.compile(r"(?:^|\s)(?P<before>[^\W\d_]+)\s\d\d?$")
BEFORE_ORDINALS = frozenset(
    "der die das des dem den am im vom zum zur beim ab bis seit dieser diesem jeder den det de til på v ve na od do "
    "dne dnia w z".split()
)
UNITS = re.compile(r"(?:\d|[IVX])\s(?:гг?|вв?|руб|млн|млрд|тыс|чел|р|см|кг|км|м)$")  # "в 1990 г. Он"
WINDOW = 24  # characters before a full stop that these rules look at


class FullStops:
    """The places at which sentencex ends a sentence of a text; it runs once, at the first full stop in doubt."""

    def __init__(self, text: str, language: str):
        self.text, self.language = text, language
        self.ends: list[int] | None = None

    def ends_sentence(self, stop: int, following: int, word: str) -> bool:
        """Whether the full stop at offset `stop`, after `word`, ends a sentence, the next beginning at `following`."""
        lower = word.lower()
        if not self.asked(stop, following):
            if lower in WORDS.get(self.language, ()):
                return not self.text[following].isdigit()
            return self.text[following].isupper() and UNITS.search(self.text, max(0, stop - WINDOW), stop) is not None
        if lower in TITLES.get(self.language, ()):
            return False
        if self.text[following].isdigit() and (
            lower in BEFORE_NUMBERS or lower.endswith("str") or len(word) < 2 or word.isdigit()
        ):  # "Hauptstr. 12", "S. 5", "am 3. 10."
            return False
        if self.language in ORDINALS and word.isdigit() and len(word) <= 2:
            ordinal = ORDINAL.search(self.text, max(0, stop - WINDOW), stop)
            return ordinal is None or ordinal["before"].lower() not in BEFORE_ORDINALS
        return True

    def asked(self, stop: int, following: int) -> bool:
        if self.ends is None:
            self.ends = sentence_ends(self.text, self.language)
        place = bisect_right(self.ends, stop)
        return place < len(self.ends) and self.ends[place] <= following


def ends_enumeration(text: str, stop: int, following: int) -> bool:
    """Whether the full stop at `stop` is that of "etc." or the like, and a capital letter follows."""
    return text[following].isupper() and LAST.search(text, max(0, stop - WINDOW), stop) is not None


def sentence_ends(text: str, language: str) -> list[int]:
    """Character offsets of the ends of sentences, each after trailing whitespace, by sentencex alone."""
    ends = []
    start = 0
    while start < len(text):
        stop = start + PIECE_CHARACTERS
        space = SAFE_SPACE.search(text, stop, stop + SEARCHED)
        stop = space.end() if space else min(stop + SEARCHED, len(text))
        place = start
        for sentence in segment(language, NUMBER.sub(". A", BLANKED.sub(" ", text[start:stop]))):
            place += len(sentence)
            ends.append(place)
        if stop < len(text):
            ends.pop()  # the end of the piece
        assert place == stop  # sentencex omits nothing of a text without line breaks
        start = stop
    return ends
