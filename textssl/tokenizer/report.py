"""How well a tokenizer fits text that it was not trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table
    from transformers import PreTrainedTokenizerFast

MANY_UNKNOWN = 0.001  # share of tokens
BATCH_TEXTS = 64
FEW_WORDS = 1000  # below this, figures are called rough
FEW_CHARACTERS = 1500  # the same for scripts without spaces, whose words have one or two characters
# Thai, Lao, Burmese, Khmer, kana, Han
WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True)
class TokenizerReport:
    """Figures on held-out texts; shares are between 0 and 1.

    vocabulary_used: share of the vocabulary that occurs. tokens_per_word: a word is what whitespace separates.
    spaceless: most letters are of scripts without spaces, so that characters_per_token is the figure to read.
    unknown: share of tokens that are [UNK]; unknown_characters: share of characters that are in them, which are many
    more where WordPiece takes a long word for unknown. round_trip: share of texts that decode to themselves exactly,
    leading spaces aside; round_trip_normalized: after the tokenizer's own normalisation, all whitespace aside.
    """

    vocab_size: int
    texts: int
    words: int
    characters: int
    tokens: int
    bytes: int
    vocabulary_used: float
    tokens_per_word: float
    characters_per_token: float
    spaceless: bool
    bytes_per_token: float
    unknown: float
    unknown_characters: float
    round_trip: float
    round_trip_normalized: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def table(self, title: str = "Tokenizer on held-out text") -> Table:
        from rich.table import Table

        table = Table(title=title)
        table.add_column("figure")
        table.add_column("value", justify="right")
        rows = {
            "vocabulary": f"{self.vocab_size:,}",
            "texts, words, characters": f"{self.texts:,}, {self.words:,}, {self.characters:,}",
            "vocabulary used by them": f"{self.vocabulary_used:.1%}",
            **self.lengths(),
            "bytes per token": f"{self.bytes_per_token:.3f}",
            "unknown tokens": f"{self.unknown:.3%}",
            **({"characters in unknown tokens": f"{self.unknown_characters:.3%}"} if self.unknown else {}),
            "texts that round-trip": f"{self.round_trip:.1%}",
            "... up to normalisation and spacing": f"{self.round_trip_normalized:.1%}",
        }
        for name, value in rows.items():
            table.add_row(name, value)
        return table

    def lengths(self) -> dict[str, str]:
        """The figures on the length of a token, the one that matters more first."""
        characters, words = f"{self.characters_per_token:.3f}", f"{self.tokens_per_word:.3f}"
        if self.spaceless:
            return {"characters per token": characters, "tokens between two spaces": words}
        return {"tokens per word": words, "characters per token": characters}

    def rough(self) -> str | None:
        """The amount of text, where it is too little for more than rough figures; else None."""
        if self.spaceless:
            return f"{self.characters:,} characters" if self.characters < FEW_CHARACTERS else None
        return f"{self.words:,} words" if self.words < FEW_WORDS else None

    def warnings(self) -> list[str]:
        if max(self.unknown, self.unknown_characters) > MANY_UNKNOWN:
            return [
                f"{self.unknown:.2%} of the held-out tokens are unknown, with {self.unknown_characters:.2%} of the "
                "characters: the alphabet does not cover this text, or wordpiece meets words of more than 100 "
                "characters; bpe, or unigram with byte fallback, covers every text"
            ]
        return []


def report(tokenizer: PreTrainedTokenizerFast, held_out_texts: Iterable[str]) -> TokenizerReport:
    """The figures of a tokenizer on held-out texts, encoded and decoded in batches, without special tokens."""
    backend = tokenizer.backend_tokenizer
    vocab_size = backend.get_vocab_size()
    used = np.zeros(max(backend.get_vocab().values()) + 1, dtype=bool)
    unknown_id: Any = tokenizer.unk_token_id
    characters = letters = without_spaces = lost = 0
    texts = words = tokens = num_bytes = unknown = exact = normalized = 0
    iterator = iter(held_out_texts)
    while batch := list(islice(iterator, BATCH_TEXTS)):
        encodings = backend.encode_batch_fast(batch, add_special_tokens=False)
        decoded = backend.decode_batch([encoding.ids for encoding in encodings], skip_special_tokens=False)
        for text, encoding, back in zip(batch, encodings, decoded, strict=True):
            ids = np.array(encoding.ids, dtype=np.int64)
            used[ids] = True
            texts, words, tokens = texts + 1, words + len(text.split()), tokens + len(ids)
            num_bytes += len(text.encode())
            characters, letters = characters + len(text), letters + sum(map(str.isalpha, text))
            without_spaces += sum(map(len, WITHOUT_SPACES.findall(text)))
            if unknown_id is not None and (found := int((ids == unknown_id).sum())):
                unknown, lost = unknown + found, lost + characters_of(backend, text, unknown_id)
            exact += back.lstrip(" ") == text.lstrip(" ")  # the space that marks the first word is not of the text
            normalized += spaceless(backend, back) == spaceless(backend, text)
    return TokenizerReport(
        vocab_size=vocab_size,
        texts=texts,
        words=words,
        characters=characters,
        tokens=tokens,
        bytes=num_bytes,
        vocabulary_used=float(used.sum()) / vocab_size,
        tokens_per_word=tokens / max(words, 1),
        characters_per_token=characters / max(tokens, 1),
        spaceless=2 * without_spaces > letters,
        bytes_per_token=num_bytes / max(tokens, 1),
        unknown=unknown / max(tokens, 1),
        unknown_characters=lost / max(characters, 1),
        round_trip=exact / max(texts, 1),
        round_trip_normalized=normalized / max(texts, 1),
    )


def characters_of(backend: Any, text: str, token: int) -> int:
    """The number of characters of a text that became this token."""
    encoding = backend.encode(text, add_special_tokens=False)
    return sum(
        end - first for found, (first, end) in zip(encoding.ids, encoding.offsets, strict=True) if found == token
    )


def spaceless(backend: Any, text: str) -> str:
    """The text as the tokenizer normalises it, without whitespace."""
    normalized = backend.normalizer.normalize_str(text) if backend.normalizer is not None else text
    return "".join(normalized.split())
