"""Some 2,500 strings on which tokenizers that should agree are likely to differ, the same every time."""

# ruff: noqa: RUF001 (signs that look like others are the subject)

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Iterator

from tokenizers import Tokenizer

SEED = 20
DRAWN = 300  # strings drawn of each kind
# fmt: off
PIECES = (  # what the strings are composed of, and what tokenizers' rules look for
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "’s", "''", "'", '"', "don't", "l'air", "rock'n'roll"),
    *(" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u3000", "\u2003", "\u2028", "\x0b", "\x0c"),
    *("\x01", "\x1c", "\x1f", "\x7f", "\x85", "\u00ad", "\u200b", "\u200d", "\u200e", "\ufeff", "\ufffd", "\ue000"),
    *("[SEP]", "[CLS]", "[MASK]", "[UNK]", "[PAD]", "[sep]", "<|endoftext|>", "##", "##s", "##ing", "Ġ", "▁", "Ċ"),
    *("<s>", "the", "THE", "Straße", "naïve", "Ångström", "ﬁle", "İstanbul", "ΟΔΥΣΣΕΥΣ", "ǅ", "ŉ", "ẞ", "K", "ſ"),
    *("e\u0301", "q\u0307\u0323", "\u0301", "a\u0308\u0304", "\u0345", "한국어", "\u1100\u1161\u11a8", "각", "\u1161"),
    *("漢字", "你好。", "「はい」", "ｶﾞ", "𠀀", "〇", "ไทย", "हिन्दी", "עִברִית", "مرحبا", "Привет", "ქართული", "አማርኛ"),
    *("1", "12", "3.14", "1,000", "²", "½", "Ⅷ", "①", "٣", "१२", "𝟘", "a1", "1a", "v2.0-rc1", "10%", "$5", "€", "#1"),
    *("🙂", "👩‍👩‍👧", "🇩🇪", "👍🏽", "❤️", "☎", "©", "→", "∑", "…", "—", "--", "...", "!?", "_", "a_b", "@x", "https://a.b/c?d=e&f"),
    *(". ", "! ", "? ", ".\n", ".\x1cA", ". \u0301x", "。", "！", "؟", "।", "Mr. ", "e.g. ", "U.S. ", ".) ", ".” "),
)
# fmt: on


def hard_strings() -> list[str]:
    """Strings of all Unicode categories, accents, line breaks, long words, look-alikes of special tokens, mixtures."""
    rng = random.Random(SEED)
    kinds: tuple[Callable[[random.Random], str], ...] = (
        mixture,
        sentences,
        of_one_category,
        accented,
        whitespace,
        word,
    )
    drawn = [kind(rng) for kind in kinds for _ in range(DRAWN)]
    return [
        "",
        *PIECES,
        *(f"a{piece}b" for piece in PIECES),
        *(f"{piece} {piece}" for piece in PIECES),
        *drawn,
        *blocks(),
    ]


def around_special(tokenizer: Tokenizer) -> list[str]:
    """Strings with a tokenizer's added tokens, and variants of them, among letters and spaces and doubled."""
    tokens = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    forms = ("{}", " {} ", "a{}b", "a {} b", "{}{}", "\n{}\n", "é {}.", "x  {}  y")
    cases = [case for token in tokens for case in dict.fromkeys((token, token.lower(), token.upper(), token[:-1]))]
    return [form.replace("{}", case) for case in cases for form in forms]


def blocks() -> Iterator[str]:
    """Assigned characters of the basic plane (without ideographs and Hangul) and emoji, 64 a string, "a" between."""
    ranges = (range(1, 0xD800), range(0xE000, 0xFB00), range(0xFB00, 0x10000), range(0x1F000, 0x1FB00))
    for codes in ranges:
        assigned = [chr(code) for code in codes if unicodedata.category(chr(code)) not in ("Cn", "Co", "Cs")]
        common = [sign for sign in assigned if not "\u3400" <= sign <= "\u9fff" and not "가" <= sign <= "힣"]
        yield from ("a".join(common[first : first + 64]) for first in range(0, len(common), 64))


def mixture(rng: random.Random) -> str:
    return "".join(rng.choices(PIECES, k=rng.randint(1, 30)))


def sentences(rng: random.Random) -> str:
    """Pieces with spaces between them and ends of sentences: closer to text."""
    return " ".join(
        rng.choice(PIECES) + rng.choice(("", "", "", ".", "!", "?\n", "\n\n")) for _ in range(rng.randint(2, 40))
    )


def of_one_category(rng: random.Random) -> str:
    """Characters with neighbouring code points, mostly of one category, among letters and spaces."""
    start = rng.choice((rng.randrange(0x20, 0x3000), rng.randrange(0x3000, 0xD700), rng.randrange(0x10000, 0x1FFFF)))
    near = [chr(start + rng.randrange(64)) for _ in range(rng.randint(1, 12))]
    return "".join(sign + rng.choice(("", "", " ", "x", "1", "'")) for sign in near)


def accented(rng: random.Random) -> str:
    marks = [chr(rng.randrange(0x300, 0x370)) for _ in range(rng.randint(1, 9))]
    return "".join(rng.choice("aeouyABCßñ한 ") + rng.choice(("", mark, mark * 2)) for mark in marks)


def whitespace(rng: random.Random) -> str:
    signs = " \t\n\r\u00a0\u2009\u3000\x0b\x0c\x1d\x85"
    return "".join(rng.choice(signs) * rng.randint(1, 4) + rng.choice(("", "a", "7", "!", "'s")) for _ in range(8))


def word(rng: random.Random) -> str:
    """Long words: letters, digits, hexadecimal, one key held down."""
    alphabet = rng.choice(
        ("abcdefghijklmnopqrstuvwxyz", "0123456789abcdef", "aA", "x", "漢字仮名", "éèüß", "!?-", "ab1_")
    )
    return "".join(rng.choices(alphabet, k=rng.choice((20, 99, 100, 101, 300))))
