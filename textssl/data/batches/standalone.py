"""Pieces of documents -> the tokens that their texts have by themselves, as the finished encoder will read them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from textssl.data.corpus.encoding import drops_space, special_ids
from textssl.tokenizer.words import SPACE_MARKERS

REMEMBERED = 2**16  # cached openings of pieces; most are frequent words
HALF_CHARACTER = "\ufffd"  # what the bytes of an incomplete character decode to
CONTRACTIONS = ("'s", "'t", "'d", "'m", "'ll", "'re", "'ve")  # words of their own, whatever follows
UNKNOWN_SIGNS = ("\ue000", "\U000f0000", "\U00013000", "\ua66e")  # hardly any vocabulary has them all


class StandaloneTokens:
    """Tokens of a piece of a document -> the tokens of its text alone, without the whitespace around it.

    They differ where a token depends on what stands before it: after a newline byte-level BPE and Unigram write a word
    without the space that they put before the first word of a text. Only the opening of a piece is encoded again, up to
    the next word that brings its own space, or the whole piece where it ends in an incomplete character or in
    whitespace. Characters that are unknown to the vocabulary stay unknown. A piece of whitespace alone stays as it is.
    """

    def __init__(self, tokenizer: Tokenizer):
        state = json.loads(tokenizer.to_str())
        self.tokenizer = Tokenizer.from_str(json.dumps(state | {"post_processor": None}))
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.encode_special_tokens = True
        model = state["model"]
        self.inner = model.get("continuing_subword_prefix") or ""  # of tokens within a word
        size = max(self.tokenizer.get_vocab().values()) + 1
        self.special = special_ids(self.tokenizer, size)
        self._fill_tables(model, size)
        unknown = model.get("unk_token") or model.get("unk_id")
        self.unknown = self.tokenizer.token_to_id(unknown) if isinstance(unknown, str) else unknown
        self.unknown_sign = next((sign for sign in UNKNOWN_SIGNS if self.is_unknown(sign)), None)
        self.openings: dict[bytes, np.ndarray] = {}

    def _fill_tables(self, model: dict[str, Any], size: int) -> None:
        """(vocabulary,) bool each. blank: nothing but whitespace. opens: as first token of a piece it is that of the
        text alone, and so are all that follow. spaced: begins a word whatever stands before. closes: may end one."""
        vocabulary = self.tokenizer.get_vocab()
        texts = dict(
            zip(vocabulary, self.tokenizer.decode_batch([[i] for i in vocabulary.values()], False), strict=True)
        )
        self.blank, self.opens, self.spaced, self.closes = (np.zeros(size, dtype=bool) for _ in range(4))
        begins_spaced, by_word = drops_space(self.tokenizer), bool(self.inner)
        # a whole word may have another token than the same letters as a part of one
        ends_anywhere = not (model.get("ignore_merges") or model.get("end_of_word_suffix"))
        for token, place in vocabulary.items():
            text = texts[token]
            whole = HALF_CHARACTER not in text
            inner = by_word and token.startswith(self.inner)
            marked = token.startswith(SPACE_MARKERS) and not token[1:].startswith(SPACE_MARKERS)
            apostrophe = text.startswith("'")  # "'s" is one word after letters alone
            self.blank[place] = not text.strip()
            self.spaced[place] = not self.blank[place] and (not inner if by_word else marked)
            if by_word or begins_spaced:
                self.opens[place] = self.spaced[place]
            else:
                self.opens[place] = whole and not marked and not apostrophe and text == text.lstrip()
            half = apostrophe and text not in ("'", *CONTRACTIONS)  # "'l" is one token in "we'll" alone
            self.closes[place] = ends_anywhere and whole and text == text.rstrip() and not half

    def is_unknown(self, sign: str) -> bool:
        ids = self.tokenizer.encode(sign, add_special_tokens=False).ids
        return self.unknown is not None and [i for i in ids if not self.blank[i]] == [self.unknown]

    def __call__(self, pieces: list[np.ndarray]) -> list[np.ndarray]:
        """Ids (tokens,) int64 of each piece -> ids (tokens,) int64 of its text; never empty unless the piece is."""
        if not pieces or not all(map(len, pieces)):
            return [self.alone(ids) for ids in pieces]
        first, last = np.array([ids[0] for ids in pieces]), np.array([ids[-1] for ids in pieces])
        same = self.opens[first] & self.closes[last] & ~self.blank[first] & ~self.blank[last]
        return [ids if known else self.alone(ids) for ids, known in zip(pieces, same.tolist(), strict=True)]

    def alone(self, ids: np.ndarray) -> np.ndarray:
        """The same of one piece."""
        start, stop = 0, len(ids)
        while start < stop and self.blank[ids[start]]:
            start += 1
        while start < stop and self.blank[ids[stop - 1]]:
            stop -= 1
        if start == stop:
            return ids
        piece = ids[start:stop]
        if not self.closes[piece[-1]]:
            return self.encoded(piece, strip_end=True)
        if self.opens[piece[0]]:
            return piece
        spaced = np.flatnonzero(self.spaced[piece[1:]])
        if not len(spaced):
            return self.encoded(piece, strip_end=True)
        border = 1 + int(spaced[0])
        opening = self.opening(piece[:border])
        return np.concatenate([opening, piece[border:]]) if len(opening) else self.alone(piece[border:])

    def opening(self, ids: np.ndarray) -> np.ndarray:
        key = ids.tobytes()
        known = self.openings.get(key)
        if known is None:
            if len(self.openings) >= REMEMBERED:
                self.openings.clear()
            known = self.openings[key] = self.encoded(ids, strip_end=False)
        return known

    def encoded(self, ids: np.ndarray, *, strip_end: bool) -> np.ndarray:
        """The ids of the decoded text, without incomplete characters; `ids` themselves where unknowns would be lost."""
        text = self.tokenizer.decode(ids.tolist(), skip_special_tokens=False).removeprefix(self.inner)
        if self.unknown is not None and self.unknown in ids:
            token = self.tokenizer.id_to_token(self.unknown)
            if self.unknown_sign is None or token is None:
                return ids
            text = text.replace(token, self.unknown_sign)
        text = text.lstrip(HALF_CHARACTER).lstrip()
        if strip_end:
            text = text.rstrip(HALF_CHARACTER).rstrip()
        found = np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
        found = found[~self.special[found]]
        return found if len(found) or not strip_end else ids
