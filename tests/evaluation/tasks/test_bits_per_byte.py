from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.folders import model
from tests.tiny import texts, tiny_tokenizer
from textssl.errors import UserError
from textssl.evaluation.tasks.bits_per_byte import bits_per_byte, pseudo_bits_per_byte
from textssl.inference.language.likelihood import windows
from textssl.tokenizer import for_causal

TEXTS = ["A harbour.", *[text[:400] for text in texts()[:2]], "é"]  # more bytes than characters


@given(st.integers(0, 60), st.integers(1, 20), st.data())
def test_windows_score_every_token_once_with_enough_before_it(length: int, context: int, data):
    stride = data.draw(st.integers(1, context))
    plan = list(windows(0, length, context, stride))
    scored = [token for window in plan for token in range(window.first, window.stop + 1)]
    assert scored == list(range(1, length + 1))
    for window in plan:
        assert window.stop - window.start <= context
        assert window.first - window.start >= min(window.first, context - stride + 1)


@pytest.mark.slow
@pytest.mark.parametrize(("context", "stride"), [(64, None), (16, 8), (16, 16), (7, 3)])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_bits_per_byte_equal_those_of_a_plain_loop(family: str, context: int, stride: int | None):
    tokenizer = for_causal(tiny_tokenizer())
    figure = bits_per_byte(model(family), tokenizer, TEXTS, context=context, stride=stride)
    step, nats, tokens = stride or context // 2, 0.0, 0
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]  # [CLS] first
        for place in range(1, len(ids)):
            tokens += 1
            # the first window that holds the token before this one; windows begin at 0, step, 2 * step, ...
            start = 0 if place <= context else step * math.ceil((place - context) / step)
            with torch.no_grad():
                logits = model(family)(input_ids=torch.tensor([ids[start:place]])).logits[0, -1]
            nats -= float(logits.log_softmax(-1)[ids[place]])
    assert figure.tokens == tokens and figure.texts == len(TEXTS)
    assert figure.bytes == sum(len(text.encode()) for text in TEXTS)
    assert figure.bits_per_byte == pytest.approx(nats / math.log(2) / figure.bytes, rel=1e-5)
    assert figure.nats_per_token == pytest.approx(nats / tokens, rel=1e-5)


def test_small_batches_change_nothing(monkeypatch):
    whole = bits_per_byte(model("llama"), tiny_tokenizer(), TEXTS)
    monkeypatch.setattr("textssl.inference.language.likelihood.LOGITS", 1)
    assert bits_per_byte(model("llama"), tiny_tokenizer(), TEXTS).bits_per_byte == pytest.approx(whole.bits_per_byte)


def test_without_a_start_token_the_first_token_counts_as_guessed():
    bare = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    one = "A"
    assert len(bare(one, add_special_tokens=False)["input_ids"]) == 1
    assert bits_per_byte(model("llama"), bare, [one]).bits_per_byte == pytest.approx(math.log2(len(bare)))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_pseudo_likelihood_equals_that_of_a_plain_loop(family: str):
    tokenizer, text = tiny_tokenizer(), TEXTS[1]
    ids = tokenizer(text)["input_ids"]
    assert len(ids) < 200
    figure = pseudo_bits_per_byte(model(family), tokenizer, [text], context=64)
    inner, parts = ids[1:-1], math.ceil((len(ids) - 2) / 62)
    bounds = [len(inner) * part // parts for part in range(parts + 1)]
    nats = 0.0
    for part in range(parts):
        row = [ids[0], *inner[bounds[part] : bounds[part + 1]], ids[-1]]
        for place in range(1, len(row) - 1):
            masked = [*row[:place], tokenizer.mask_token_id, *row[place + 1 :]]
            with torch.no_grad():
                logits = model(family)(input_ids=torch.tensor([masked])).logits[0, place]
            nats -= float(logits.log_softmax(-1)[row[place]])
    assert (figure.kind, figure.tokens) == ("pseudo", len(inner))
    assert figure.bits_per_byte == pytest.approx(nats / math.log(2) / len(text.encode()), rel=1e-5)


def test_what_cannot_be_scored():
    with pytest.raises(UserError, match="no text to score"):
        bits_per_byte(model("llama"), tiny_tokenizer(), [])
    with pytest.raises(UserError, match="does not fit the model, which takes 4 to 64"):
        bits_per_byte(model("gpt2"), tiny_tokenizer(), ["x"], context=65)
    with pytest.raises(UserError, match="stride is 9"):
        bits_per_byte(model("gpt2"), tiny_tokenizer(), ["x"], context=8, stride=9)
    with pytest.raises(UserError, match="stride is 0"):
        bits_per_byte(model("gpt2"), tiny_tokenizer(), ["x"], context=8, stride=0)
    bare = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    with pytest.raises(UserError, match="no mask token"):
        pseudo_bits_per_byte(model("bert"), bare, ["x"])
