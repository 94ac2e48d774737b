"""Words too long to learn from (genomes, base64, a key held down): cut for training, and counted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Characters after which a word is cut for training, whose time grows with the square of a word's length; no language
# has longer words. Unigram's words extend from space to space, as URLs and Chinese sentences do.
LONGEST_WORD = {"bpe": 64, "wordpiece": 64, "unigram": 256}
# Characters of all longer words together that a tokenizer is trained on. Hardly any of their pieces occurs twice, so
# each costs as much as a word of a language costs once.
LONG_WORDS_CHARACTERS = {"bpe": 2**20, "wordpiece": 2**20, "unigram": 2**18}


@dataclass
class LongWords:
    """Words longer than LONGEST_WORD: how many, their characters together, and how many of these were left out."""

    words: int = 0
    characters: int = 0
    left_out: int = 0

    def cut(self, texts: Iterable[str], algorithm: str) -> Iterator[str]:
        """The texts with a line break after every LONGEST_WORD characters of a longer word, counted on the way.

        A word is what the algorithm's pre-tokenizer leaves whole: a run of letters and digits, or of signs; for unigram
        all between two spaces. Characters beyond LONG_WORDS_CHARACTERS are left out.
        """
        limit, room = LONGEST_WORD[algorithm], LONG_WORDS_CHARACTERS[algorithm]
        kinds = (r"\S",) if algorithm == "unigram" else (r"\w", r"[^\w\s]")
        # the look-behind first: the search then tries the beginnings of words only
        longer = re.compile("|".join(rf"(?<!{kind}){kind}{{{limit + 1},}}" for kind in kinds))

        def pieces(match: re.Match[str]) -> str:
            word = match[0]
            kept = min(len(word), max(0, room - (self.characters - self.left_out)))
            self.words += 1
            self.characters += len(word)
            self.left_out += len(word) - kept
            return "\n".join(word[start : min(start + limit, kept)] for start in range(0, kept, limit))

        for text in texts:  # what is between two spaces is quickly measured and seldom so long
            suspect = any(map(limit.__lt__, map(len, text.split())))
            yield longer.sub(pieces, text) if suspect and longer.search(text) else text

    def note(self, algorithm: str) -> str:
        """One sentence for the user, without a full stop."""
        one = f"{self.words:,} words longer than {LONGEST_WORD[algorithm]} characters ({self.characters:,} together)"
        rest = f", and {self.left_out:,} of these characters were left out" if self.left_out else ""
        return f"{one} were cut there for training{rest}"
