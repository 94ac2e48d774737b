"""The words of many texts at once, as arrays of hashes: the unit of shingles and of repetition.

Letter case, punctuation, whitespace and the Unicode form of accents make no difference. In scripts without spaces
between words, and in rare ones, every character is a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from textssl.sample_types import MIXERS, mixed

CHUNK_CHARACTERS = 2**18  # hashed at once, which takes some 60 bytes a character
BETWEEN = "\0"  # separates two texts; no document contains it
SPACE = re.compile(r"\s")
# Thai and Lao, Burmese, Khmer, Japanese and Chinese
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
BEYOND = 2**16  # code points from here on: emoji, rare Chinese characters, ancient scripts
OTHER, LETTER, ALONE = 0, 1, 2  # kinds of characters: between words, part of a word, a word by itself
HASH_BITS = 52  # of the hash of a run in a key; the other 12 bits number its text
MOST_TEXTS = 2 ** (64 - HASH_BITS)
BASE = 0x9E3779B97F4A7C15  # of the polynomial hashes; odd, so that it has an inverse modulo 2**64


class Words(NamedTuple):
    """All words of some texts in order. hashes: (words,) uint64. owners: (words,) int64, the index of the text of each.

    lengths: (words,) int64, in characters.
    """

    hashes: np.ndarray
    owners: np.ndarray
    lengths: np.ndarray


def words_of(texts: Sequence[str]) -> Words:
    """The words of at most MOST_TEXTS texts, which take some 24 bytes a word."""
    assert len(texts) <= MOST_TEXTS
    parts = []
    for owner, chunk in chunks(texts):
        points = np.frombuffer(unicodedata.normalize("NFC", chunk.lower()).encode("utf-32-le"), dtype="<u4")
        starts, stops = bounds(points)
        owners = owner + np.searchsorted(np.flatnonzero(points == ord(BETWEEN)), starts)
        parts.append(Words(hashes(points, starts, stops), owners, stops - starts))
    return Words(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def chunks(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(index of the first text, characters): short texts joined, long ones cut where the text itself decides."""
    first, short, size = 0, [], 0
    for owner, text in enumerate(texts):
        if short and size + len(text) > CHUNK_CHARACTERS:
            yield first, BETWEEN.join(short)
            short, size = [], 0
        if len(text) > CHUNK_CHARACTERS:
            yield from ((owner, piece) for piece in cut(text))
            continue
        first = first if short else owner
        short.append(text)
        size += len(text)
    yield first, BETWEEN.join(short)


def cut(text: str) -> Iterator[str]:
    """Pieces of about CHUNK_CHARACTERS, cut before whitespace (anywhere, if there is none)."""
    start = 0
    while len(text) - start > CHUNK_CHARACTERS:
        stop = start + CHUNK_CHARACTERS
        space = SPACE.search(text, stop, stop + CHUNK_CHARACTERS)
        stop = space.start() if space else min(stop + CHUNK_CHARACTERS, len(text))
        yield text[start:stop]
        start = stop
    yield text[start:]


def bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where words begin and end; (words,) each. points: (characters,) code points."""
    kinds = np.concatenate([[OTHER], kind_table()[np.minimum(points, BEYOND)], [OTHER]])
    inside = kinds != OTHER
    goes_on = (kinds[:-1] == LETTER) & (kinds[1:] == LETTER)  # two neighbours in one word
    return np.flatnonzero(inside[1:] & ~goes_on), np.flatnonzero(inside[:-1] & ~goes_on)


@cache
def kind_table() -> np.ndarray:
    """(BEYOND + 1,) the kind of every code point; letters, digits, accents and the underscore make words."""
    signs = [chr(code) for code in range(BEYOND)]
    letters = [sign.isalnum() or sign == "_" or unicodedata.category(sign)[0] == "M" for sign in signs]
    table = np.array([*letters, True], dtype=np.uint8) * LETTER
    table[[code for code, sign in enumerate(signs) if table[code] and UNSPACED.match(sign)]] = ALONE
    table[BEYOND] = ALONE
    return table


def hashes(points: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """(words,) uint64: a polynomial hash of each word's characters, from prefix sums over the whole text."""
    powers, inverse = powers_of_base(1 << len(points).bit_length())
    sums = np.zeros(len(points) + 1, dtype=np.uint64)
    np.cumsum(mixed(points.astype(np.uint64) + MIXERS[1]) * powers[: len(points)], out=sums[1:])
    return mixed((sums[stops] - sums[starts]) * inverse[starts])


@cache
def powers_of_base(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` powers of BASE and of its inverse, modulo 2**64."""
    both = (np.full(count, base, dtype=np.uint64) for base in (BASE, pow(BASE, -1, 2**64)))
    return tuple(np.cumprod(np.concatenate([[np.uint64(1)], base[1:]]), dtype=np.uint64) for base in both)  # type: ignore[return-value]


def runs_of_words(words: Words, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Every run of `count` words within one text: where it begins among the words, and its hash; (runs,) each."""
    starts = np.arange(max(0, len(words.hashes) - count + 1))
    starts = starts[words.owners[starts] == words.owners[starts + count - 1]]
    return starts, hash_of_runs(words, starts, count)


def owned_runs(words: Words, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As `runs_of_words`, with a key that only runs of the same text can share."""
    starts, values = runs_of_words(words, count)
    return starts, owned(words.owners[starts], values)


def owned(owners: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(runs,) uint64: the text in the highest bits, HASH_BITS of the hash in the others."""
    return (owners.astype(np.uint64) << np.uint64(HASH_BITS)) | (values >> np.uint64(64 - HASH_BITS))


def first_of_equal(keys: np.ndarray) -> np.ndarray:
    """(keys,) bool: whether each of the sorted keys differs from the one before it."""
    return np.append(True, keys[1:] != keys[:-1])[: len(keys)]


def met_again(keys: np.ndarray) -> np.ndarray:
    """(keys,) bool: whether each of the sorted keys occurs more than once."""
    first = first_of_equal(keys)
    return ~(first & np.append(first[1:], True)[: len(keys)])


def hash_of_runs(words: Words, starts: np.ndarray, count: int) -> np.ndarray:
    """(runs,) uint64 hash of each run of `count` words. starts: (runs,) the first word of each."""
    total = np.full(len(starts), count, dtype=np.uint64)
    for place in range(count):
        total += words.hashes[starts + place] * np.uint64(pow(BASE, place + 1, 2**64))
    return mixed(total)
