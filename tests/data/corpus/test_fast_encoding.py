"""The fast engines give the ids, lengths and marks of the tokenizers library, to the bit."""

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from textssl.data.corpus import encoding
from textssl.data.corpus.encoding import DocumentEncoder
from textssl.data.corpus.fast_encoding import ByteEncoder, SurePlaces, WordPieceEncoder
from textssl.tokenizer import train_tokenizer
from textssl.tokenizer.engines import kind_of
from textssl.tokenizer.hard_strings import hard_strings

pytest.importorskip("gigatoken", reason="the extra fast is not installed")
pytest.importorskip("nanotoken", reason="the extra fast is not installed")

ROOT = Path(__file__).resolve().parents[3]
REAL = (ROOT / "README.md").read_text(encoding="utf-8").split("\n\n")
HARD = hard_strings()


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Tokenizer]:
    options = {
        "wordpiece": {"algorithm": "wordpiece", "lowercase": True, "strip_accents": True},
        "cased": {"algorithm": "wordpiece", "normalization": "NFKC"},
        "bpe": {},
        "bytes": {"normalization": None},
    }
    texts = REAL + HARD[::9]
    made = {name: train_tokenizer(texts, vocab_size=1200, **some).backend_tokenizer for name, some in options.items()}
    made["bytes"].pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    return made


def assert_same(tokenizer: Tokenizer, texts: list[str]) -> None:
    slow, fast = (DocumentEncoder(tokenizer, fast=fast).encode(texts) for fast in (False, True))
    for name, left, right in zip(slow._fields, slow, fast, strict=True):
        assert np.array_equal(left, right), name
    assert slow.ids.dtype == fast.ids.dtype and slow.lengths.dtype == fast.lengths.dtype


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wordpiece", "cased", "bpe", "bytes"])
def test_ids_lengths_and_marks_equal_those_of_the_library(tokenizers, name):
    assert_same(tokenizers[name], REAL + HARD[:: 1 if name in ("wordpiece", "bpe") else 5])


@pytest.mark.parametrize("name", ["wordpiece", "bpe", "bytes"])
def test_long_documents_in_many_segments_too(tokenizers, monkeypatch, name):
    monkeypatch.setattr(encoding, "SEGMENT_CHARACTERS", 200)
    monkeypatch.setattr(encoding, "BATCH_CHARACTERS", 900)
    assert_same(tokenizers[name], ["\n\n".join(REAL)[:20_000], "", " ".join(HARD[::9])[:20_000], "end"])


def test_the_engine_does_nearly_all_of_plain_text(tokenizers, monkeypatch):
    """Otherwise the equality above would compare the library with itself."""
    for name, kind in (("wordpiece", WordPieceEncoder), ("bpe", ByteEncoder)):
        encoder = DocumentEncoder(tokenizers[name], fast=True)
        assert isinstance(encoder.encoder, kind)
        monkeypatch.setattr(encoder.encoder.slow, "encode", None)
        encoder.encode([text for text in REAL if text.isascii()])


def test_a_place_is_sure_where_nothing_joins_or_falls_away():
    sure = SurePlaces(normalizers.BertNormalizer(lowercase=True))
    assert all(sure[pair] for pair in (" A", "\nb", "。你", "a", "”x", " “"))
    assert not any(sure[pair] for pair in (" \u0301", "xA", "\u200bA", " \x01", "\x1cA", " \ufffd", "\u0301"))


def test_kinds_that_no_engine_does(tokenizers):
    assert [kind_of(tokenizers[name]) for name in ("wordpiece", "cased", "bpe")] == ["wordpiece", "wordpiece", "bytes"]
    other = Tokenizer.from_str(tokenizers["bpe"].to_str())
    other.normalizer = normalizers.Lowercase()  # type: ignore[assignment]
    assert kind_of(other) is None
    other = Tokenizer.from_str(tokenizers["wordpiece"].to_str())
    other.add_tokens(["river bank"])
    assert kind_of(other) is None
    other.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    assert kind_of(other) is None
