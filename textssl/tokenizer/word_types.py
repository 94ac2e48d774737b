"""A bound on the different words a tokenizer is trained on, with whose number a trainer's memory grows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MOST_WORD_TYPES = 1_000_000
KNOWN_PIECES = 2**20  # most pieces between spaces that are remembered to hold only known words
# roughly what the pre-tokenizers leave whole; WordPiece's splits off every Chinese character
IDEOGRAPH = "\u3400-\u9fff\uf900-\ufaff"
WORD = {
    "bpe": re.compile(r"\w+|[^\w\s]+"),
    "wordpiece": re.compile(rf"[{IDEOGRAPH}]|[^\W{IDEOGRAPH}]+|[^\w\s]"),
    "unigram": re.compile(r"\S+"),
}


@dataclass
class WordTypes:
    """The different words met so far, at most `limit`. left_out: occurrences of other words, which were left out."""

    limit: int = MOST_WORD_TYPES
    left_out: int = 0
    known: set[str] = field(default_factory=set, repr=False)
    pieces: set[str] = field(default_factory=set, repr=False)

    def bound(self, texts: Iterable[str], algorithm: str) -> Iterator[str]:
        """The texts without words that are new once `limit` others are known.

        A word between two spaces is removed with one of them; elsewhere a line break replaces it, so that what is left
        forms no new words.
        """
        word = WORD[algorithm]
        spaced = re.compile(rf"( ?)({word.pattern})(?=(\s|\Z)?)")

        def kept(match: re.Match[str]) -> str:
            if match[2] in self.known:
                return match[0]
            self.left_out += 1
            return "" if match[1] and match[3] is not None else "\n"

        for text in texts:
            new = set(text.split()) - self.pieces
            if new and not self.learn(new, word):
                text = spaced.sub(kept, text)
            yield text

    def learn(self, pieces: set[str], word: re.Pattern[str]) -> bool:
        """Learn the words of the pieces, as far as there is room; returns whether all of them are known now."""
        words = set(word.findall("\n".join(pieces))) - self.known
        if len(words) + len(self.known) > self.limit:
            room = self.limit - len(self.known)
            self.known.update(sorted(words)[:room])  # sorted: a set's order differs between runs
            return False
        self.known |= words
        if len(self.pieces) + len(pieces) > KNOWN_PIECES:
            self.pieces.clear()
        self.pieces |= pieces
        return True

    def as_dict(self) -> dict[str, int]:
        return {"limit": self.limit, "known": len(self.known), "left_out": self.left_out}

    def note(self) -> str:
        """One sentence for the user, without a full stop."""
        return (
            f"{self.left_out:,} times a word was left out of training, since the text has more than {self.limit:,} "
            "different ones; they are the ones met last, and --max-word-types allows more, for more memory"
        )
