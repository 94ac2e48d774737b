"""Texts -> ids: an engine is taken where it gives the same, and all is as the library has it."""

import sys
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from textssl.data.batches import token_reader
from textssl.data.batches.labelled_examples import ExampleReader
from textssl.data.batches.token_reader import TokenReader
from textssl.errors import UserError
from textssl.system import progress
from textssl.tokenizer import for_causal, train_tokenizer
from textssl.tokenizer.engines import NanotokenEngine

RNG = np.random.default_rng(5)
WORDS = "The river's banks. Dr. Wu ran 3.5 km over CAFÉ tables, naïve [SEP] why? 你好。 DON'T e\u0301 x".split()  # noqa: SIM905
TEXTS = ["", " ", "\x01", "[MASK]a", *(" ".join(RNG.choice(WORDS, size)) for size in (1, 2, 6, 7, 30, 200))]
PACKAGES = {"wordpiece": "nanotoken", "bpe": "gigatoken"}
TRAINED = {
    "wordpiece": train_tokenizer(TEXTS * 3, algorithm="wordpiece", vocab_size=200, lowercase=True),
    "bpe": train_tokenizer(TEXTS * 3, vocab_size=400),
}


@pytest.fixture(autouse=True)
def eager(monkeypatch, tmp_path):
    """Engines are tried on little text, and verdicts go to a folder of the test."""
    for package in PACKAGES.values():
        pytest.importorskip(package, reason="the extra fast is not installed")
    monkeypatch.setenv("TEXTSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(token_reader, "WORTH_CHARACTERS", 1)
    monkeypatch.setattr(token_reader, "hard_strings", lambda: ["don't [SEP] e\u0301", "x  y"])
    monkeypatch.setattr(progress, "_lines", set())


def same(left: Any, right: Any) -> None:
    assert [row.tolist() for row in left.rows] == [row.tolist() for row in right.rows]
    assert left.lengths.tolist() == right.lengths.tolist() == [len(row) for row in left.rows]
    assert left.cut == right.cut and all(row.dtype == np.int64 for row in left.rows)


@pytest.mark.parametrize("algorithm", PACKAGES)
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize(("most", "side"), [(None, "right"), (8, "right"), (8, "left")])
def test_ids_are_those_of_transformers_and_of_the_library(algorithm, special, most, side, monkeypatch, capsys):
    words: Any = PreTrainedTokenizerFast(tokenizer_object=TRAINED[algorithm].backend_tokenizer, truncation_side=side)
    reader = TokenReader(words, most, special_tokens=special)
    read = reader.read(TEXTS)
    assert reader.fast is not None and reader.engine.startswith(PACKAGES[algorithm])
    assert f"tokenizing with {reader.engine}" in capsys.readouterr().err
    expected = words(TEXTS, add_special_tokens=special, truncation=most is not None, max_length=most)["input_ids"]
    assert [row.tolist() for row in read.rows] == expected
    whole = words(TEXTS, add_special_tokens=special)["input_ids"]
    assert read.cut == sum(len(row) > (most or 10**9) for row in whole)
    monkeypatch.setitem(sys.modules, PACKAGES[algorithm], None)
    slow = TokenReader(words, most, special_tokens=special)
    same(read, slow.read(TEXTS))
    assert slow.fast is None and slow.engine.startswith("tokenizers ")
    same(reader.read(TEXTS[:1]), slow.read(TEXTS[:1]))
    same(reader.read([]), slow.read([]))


def test_a_tokenizer_of_the_library_is_read_as_it_is_set():
    backend = Tokenizer.from_str(TRAINED["wordpiece"].backend_tokenizer.to_str())
    backend.enable_truncation(5, direction="left")
    reader = TokenReader(backend, special_tokens=False)
    read = reader.read(TEXTS)
    assert reader.fast is not None
    assert [row.tolist() for row in read.rows] == [backend.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert read.cut > 0 and int(read.lengths.max()) == 5


def test_text_that_looks_like_a_special_token_is_that_token_or_text():
    for split in (False, True):
        words: Any = PreTrainedTokenizerFast(
            tokenizer_object=TRAINED["wordpiece"].backend_tokenizer, split_special_tokens=split
        )
        reader = TokenReader(words)
        row = reader.read(["the [SEP] river", *TEXTS]).rows[0].tolist()
        assert reader.fast is not None and row == words("the [SEP] river")["input_ids"]
        assert (row.count(words.convert_tokens_to_ids("[SEP]")) == 2) is not split


def test_the_tokenizer_is_left_as_the_library_leaves_it(monkeypatch):
    left = []
    for package in ("nanotoken", None):
        words: Any = PreTrainedTokenizerFast(tokenizer_object=TRAINED["wordpiece"].backend_tokenizer)
        if package is None:
            monkeypatch.setitem(sys.modules, "nanotoken", None)
        reader = TokenReader(words, 7)
        TokenReader(words).read(TEXTS)
        reader.read(TEXTS)
        words(TEXTS[0])
        reader.read(TEXTS)
        left.append(words.backend_tokenizer.to_str())
    assert left[0] == left[1] and '"max_length":7' in left[0].replace(" ", "")


def doctored(monkeypatch) -> None:
    """One text has another id."""
    encode = NanotokenEngine.encode

    def other(self, texts):
        ids, lengths = encode(self, texts)
        if TEXTS[-1] in texts:
            ids = ids.copy()
            ids[-1] = 5
        return ids, lengths

    monkeypatch.setattr(NanotokenEngine, "encode", other)


def test_one_difference_and_the_library_reads_now_and_later(monkeypatch, capsys):
    words: Any = TRAINED["wordpiece"]
    with monkeypatch.context() as patched:
        doctored(patched)
        reader = TokenReader(words, 8)
        same(reader.read(TEXTS), reader.read(TEXTS))
        assert reader.fast is None and "differs from the tokenizers library (on " in capsys.readouterr().err
    monkeypatch.setattr(token_reader, "hard_strings", None)  # not tried again
    later = TokenReader(words)
    later.read(TEXTS)
    assert later.fast is None


def test_what_stands_around_a_text_is_tried_each_time(monkeypatch):
    """The verdict on ids is known, and a post-processor puts tokens where no frame is."""
    words: Any = PreTrainedTokenizerFast(tokenizer_object=TRAINED["wordpiece"].backend_tokenizer)
    first = TokenReader(words)
    first.read(TEXTS)
    assert first.fast is not None
    monkeypatch.setattr(token_reader, "hard_strings", None)  # not tried again
    again = TokenReader(words)
    again.read(TEXTS)
    assert again.fast is not None
    doctored(monkeypatch)
    third = TokenReader(words)
    third.read(TEXTS)
    assert third.fast is None
    twice = processors.TemplateProcessing(
        single="$A [SEP] $A", special_tokens=[("[SEP]", words.convert_tokens_to_ids("[SEP]"))]
    )
    words.backend_tokenizer.post_processor = twice
    odd = TokenReader(words, 9)
    odd.read(TEXTS[:-1])
    assert odd.fast is None


def test_little_text_and_other_kinds_are_left_to_the_library(monkeypatch):
    words: Any = TRAINED["wordpiece"]
    monkeypatch.setattr(token_reader, "WORTH_CHARACTERS", 40)
    reader = TokenReader(words)
    reader.read(["a" * 30])
    assert reader.fast is None
    reader.read(["a" * 30])
    assert reader.fast is not None
    other = TokenReader(train_tokenizer(TEXTS * 3, algorithm="unigram", vocab_size=150, byte_fallback=False))
    other.read(TEXTS)
    assert other.fast is None and other.engine.startswith("tokenizers ")


def test_a_cut_without_room_for_text_is_refused():
    with pytest.raises(UserError, match="give 3 or more"):
        TokenReader(TRAINED["wordpiece"], 2)


def bare() -> Any:
    """A tokenizer that puts nothing around a text."""
    words = PreTrainedTokenizerFast(tokenizer_object=TRAINED["wordpiece"].backend_tokenizer, pad_token="[PAD]")
    words.backend_tokenizer.post_processor = processors.Sequence([])
    return words


@pytest.mark.parametrize("form", ["as BERT", "causal", "bare"])
def test_examples_are_the_same_by_an_engine(form, monkeypatch):
    words: Any = {"as BERT": TRAINED["wordpiece"], "causal": for_causal(TRAINED["wordpiece"]), "bare": bare()}[form]
    reader = ExampleReader(words, 9)
    fast, cut = reader.read(TEXTS)
    assert reader.texts.fast is not None and cut > 0
    monkeypatch.setitem(sys.modules, "nanotoken", None)
    slow, same_cut = ExampleReader(words, 9).read(TEXTS)
    assert cut == same_cut
    for (ids, types), (other_ids, other_types), text in zip(fast, slow, TEXTS, strict=True):
        expected = words(text, truncation=True, max_length=9, return_token_type_ids=True)
        assert ids.tolist() == other_ids.tolist() == (expected["input_ids"] or [words.pad_token_id])
        assert types.tolist() == other_types.tolist() == (expected["token_type_ids"] or [0])


def test_an_engine_that_runs_out_of_memory_is_tried_again(monkeypatch, capsys):
    """The library reads this time, and that is said; the next reader compares anew."""
    words: Any = TRAINED["wordpiece"]
    with monkeypatch.context() as patched:
        patched.setattr(NanotokenEngine, "encode", lambda self, texts: (_ for _ in ()).throw(MemoryError()))
        reader = TokenReader(words)
        reader.read(TEXTS)
        said = " ".join(capsys.readouterr().err.split())
        assert reader.fast is None and "could not be compared with the tokenizers library (MemoryError)" in said
    later = TokenReader(words)
    later.read(TEXTS)
    assert later.fast is not None
