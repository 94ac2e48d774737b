"""What objectives read off a tokenizer."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.tokenizer import for_causal
from textssl.tokenizer.vocabulary import Vocabulary, frame_of


def tokenizer_of(*tokens: str) -> PreTrainedTokenizerFast:
    """Whole words, nothing for a word that is unknown, [CLS] before and [SEP] behind a text."""
    known = {token: number for number, token in enumerate(["[CLS]", "[SEP]", *tokens])}
    tokenizer = Tokenizer(models.BPE(vocab=known, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]")


def test_frames_of_trained_tokenizers():
    assert frame_of(tiny_tokenizer()) == ((2,), (3,))
    assert frame_of(for_causal(tiny_tokenizer())) == ((2,), ())


def test_a_tokenizer_that_has_no_token_for_the_letter_a():
    words = tokenizer_of("x", "y")
    assert words("a", add_special_tokens=False)["input_ids"] == []
    assert frame_of(words) == ((0,), (1,))
    vocabulary = Vocabulary.of(words)
    assert (vocabulary.prefix, vocabulary.suffix) == ((0,), (1,))


def test_a_tokenizer_without_a_token_for_any_text_is_refused():
    with pytest.raises(UserError, match="no token for any text"):
        frame_of(tokenizer_of())
