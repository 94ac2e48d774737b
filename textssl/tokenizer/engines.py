"""Fast engines: packages that give the ids of the tokenizers library, many times faster, for some kinds of tokenizer.

nanotoken encodes with BERT's WordPiece, gigatoken with byte-level BPE as in GPT-2. They come with the extra `fast`.
That they give the same ids is not taken for granted but tested: textssl.tokenizer.verdicts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers

Kind = Literal["wordpiece", "bytes"]
PACKAGES: dict[Kind, str] = {"wordpiece": "nanotoken", "bytes": "gigatoken"}
NORMAL_FORMS = {"NFC", "NFD", "NFKC", "NFKD"}
WORDPIECE_STEPS = {*NORMAL_FORMS, "Lowercase", "StripAccents", "BertNormalizer"}
LIBRARY = "tokenizers"


class Engine(Protocol):
    """Texts -> ids (tokens,), one text after another, and lengths (texts,) int64; no special tokens are added."""

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]: ...


class NanotokenEngine:
    def __init__(self, state: str) -> None:
        from nanotoken import WordPieceTokenizer

        self.tokenizer = WordPieceTokenizer.from_json(state)

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = self.tokenizer.encode_batch(texts, add_special_tokens=False, parallel=False)
        return ids, np.diff(offsets)


class GigatokenEngine:
    def __init__(self, state: str) -> None:
        from gigatoken import Tokenizer

        self.tokenizer = Tokenizer.from_json(state).backend

    def encode(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = [self.tokenizer.encode(text) for text in texts]
        ids = np.concatenate(rows) if rows else np.zeros(0, np.uint32)
        return ids, np.array([len(row) for row in rows], dtype=np.int64)


def kind_of(tokenizer: Tokenizer) -> Kind | None:
    """The kind of a tokenizer, if it is one that an engine supports; else None.

    No engine supports added tokens that are not special, which may occur anywhere in a text.
    """
    state = json.loads(tokenizer.to_str())
    model, before = state["model"], state["pre_tokenizer"] or {}
    if not all(token["special"] for token in state["added_tokens"]):
        return None
    steps = normalizer_steps(state)
    if (
        model["type"] == "WordPiece"
        and before.get("type") == "BertPreTokenizer"
        and model["unk_token"] in model["vocab"]
    ):
        return "wordpiece" if steps <= WORDPIECE_STEPS else None
    if model["type"] == "BPE" and before.get("type") == "ByteLevel" and before.get("use_regex", True):
        odd = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
        whole = all(sign in model["vocab"] for sign in pre_tokenizers.ByteLevel.alphabet())
        return "bytes" if whole and not any(model.get(key) for key in odd) and steps <= NORMAL_FORMS else None
    return None


def normalizer_steps(state: dict[str, Any]) -> set[str]:
    """The types of all normalizers in the (JSON) state of a tokenizer."""
    normalizer = state["normalizer"]
    if normalizer is None:
        return set()
    return {step["type"] for step in normalizer.get("normalizers", [normalizer])}


def engine_name(tokenizer: Tokenizer) -> str | None:
    """The engine for a tokenizer, as `nanotoken 0.1.0`; None where its kind has none or it is not installed."""
    kind = kind_of(tokenizer)
    if kind is None or find_spec(PACKAGES[kind]) is None:
        return None
    return f"{PACKAGES[kind]} {version(PACKAGES[kind])}"


def library_name() -> str:
    """What encodes where no engine does, as `tokenizers 0.23.1`."""
    return f"{LIBRARY} {version(LIBRARY)}"


def load_engine(tokenizer: Tokenizer, *, special_in_text: bool) -> Engine:
    """The engine for a tokenizer, for which `engine_name` must name one.

    special_in_text: whether text that looks like a special token ("[SEP]") becomes that token.
    """
    kind = kind_of(tokenizer)
    assert kind is not None, "no engine does this kind of tokenizer"
    state = json.loads(tokenizer.to_str()) | {"post_processor": None, "truncation": None, "padding": None}
    if not special_in_text:
        state["added_tokens"] = []
    return {"wordpiece": NanotokenEngine, "bytes": GigatokenEngine}[kind](json.dumps(state))
