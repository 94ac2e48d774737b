"""How much of a text is repetition, and the thresholds for too much of it (Gopher: arXiv:2112.11446, table A1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textssl.data.corpus.cleaning.words import Words, first_of_equal, met_again, owned_runs, words_of

MOST_REPEATED = 0.3  # share of the lines, or paragraphs, that occurred earlier in the text
MOST_REPEATED_CHARACTERS = 0.2  # ... of the characters in them
MOST_TOP = {2: 0.2, 3: 0.18, 4: 0.16}  # n of an n-gram of words -> share of the characters in the commonest one
MOST_COVERED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}  # ... in all that occur more than once


def repetitions(texts: Sequence[str]) -> list[str | None]:
    """For each text what there is too much of, such as `0.42 of the lines came before, at most 0.30`, or None."""
    found = [repeated_parts(text) for text in texts]
    rest = [place for place, fault in enumerate(found) if fault is None]
    for place, fault in zip(rest, repeated_words([texts[place] for place in rest]), strict=True):
        found[place] = fault
    return found


def repeated_parts(text: str) -> str | None:
    for kind, separator in (("lines", "\n"), ("paragraphs", "\n\n")):
        parts = [part for part in map(str.strip, text.split(separator)) if part]
        different = set(parts)
        if len(different) == len(parts):
            continue
        share = (len(parts) - len(different)) / len(parts)
        total = sum(map(len, parts))
        characters = (total - sum(map(len, different))) / total
        if share > MOST_REPEATED:
            return f"{share:.2f} of the {kind} came before, at most {MOST_REPEATED:.2f}"
        if characters > MOST_REPEATED_CHARACTERS:
            return (
                f"{characters:.2f} of the characters in {kind} that came before, at most {MOST_REPEATED_CHARACTERS:.2f}"
            )
    return None


def repeated_words(texts: Sequence[str]) -> list[str | None]:
    """As `repetitions`, for runs of words (n-grams); only characters in words count."""
    words = words_of(texts)
    totals = np.maximum(np.bincount(words.owners, words.lengths, len(texts)), 1)
    found: list[str | None] = [None] * len(texts)
    for length, most in (MOST_TOP | MOST_COVERED).items():
        top = length in MOST_TOP
        shares = (in_commonest if top else in_repeated)(words, length, len(texts)) / totals
        what = f"the commonest run of {length} words" if top else f"runs of {length} words that come more than once"
        for place in np.flatnonzero(shares > most).tolist():
            found[place] = found[place] or f"{shares[place]:.2f} of the characters in {what}, at most {most:.2f}"
        if not top and (shares <= min(MOST_COVERED.values())).all():
            break  # longer runs cover no more
    return found


def in_commonest(words: Words, length: int, documents: int) -> np.ndarray:
    """(documents,) characters in the words that the commonest run covers (of ties that which covers most); 0 if none
    comes twice. A word in two overlapping occurrences (of "ha ha" in "ha ha ha") counts once."""
    starts, owners, firsts, counts = repeated_runs(words, length)
    characters = np.zeros(documents, dtype=np.int64)
    if not len(firsts):
        return characters
    starts, owners = starts[np.lexsort((starts, np.repeat(np.arange(len(firsts)), counts)))], owners[firsts]
    stops = starts + length
    within = np.ones(len(starts) - 1, dtype=bool)  # whether the next run is an equal one
    within[firsts[1:] - 1] = False
    stops[:-1] = np.where(within, np.minimum(stops[:-1], starts[1:]), stops[:-1])
    sums = np.concatenate([[0], np.cumsum(words.lengths)])
    sizes = np.add.reduceat(sums[stops] - sums[starts], firsts)
    order = np.lexsort((sizes, counts, owners))
    last = order[np.flatnonzero(np.diff(owners[order], append=-1))]  # of each document
    characters[owners[last]] = sizes[last]
    return characters


def in_repeated(words: Words, length: int, documents: int) -> np.ndarray:
    """(documents,) characters in the words that are covered by a run which occurs more than once."""
    starts, *_ = repeated_runs(words, length)
    size = len(words.hashes) + 1
    covered = np.cumsum(np.bincount(starts, minlength=size) - np.bincount(starts + length, minlength=size)) > 0
    return np.bincount(words.owners, words.lengths * covered[:-1], documents)


def repeated_runs(words: Words, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs of `length` words that occur more than once in their text, equal ones next to each other.

    Returns the first word of each run and its text, (runs,) each, and for each group of equal runs the index of its
    first run and the number of its runs, (groups,) each.
    """
    starts, keys = owned_runs(words, length)
    order = np.argsort(keys)
    keys = keys[order]
    repeated = met_again(keys)
    starts, keys = starts[order[repeated]], keys[repeated]
    firsts = np.flatnonzero(first_of_equal(keys))
    return starts, words.owners[starts], firsts, np.diff(firsts, append=len(keys))
