from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.scoring import causal_log_probability, model, pseudo_log_probability, scorer_of
from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.inference.language.likelihood import _word_ends, causal_likelihood, pseudo_likelihood
from textssl.sample_types import LONGEST_WORD

SENTENCES = ["The harbourmasters near the boats were extraordinarily old.", "A man.", "The unbelievable naïveté, 1999!"]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_causal_log_probabilities_of_each_text_equal_those_of_a_plain_loop(family: str):
    found = scorer_of(family).likelihood(SENTENCES)
    assert found.kind == "causal"
    np.testing.assert_allclose(-found.nats, [causal_log_probability(family, text) for text in SENTENCES], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("hide_rest", [False, True])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_pseudo_log_probabilities_of_each_text_equal_those_of_a_plain_loop(family: str, hide_rest: bool):
    found = scorer_of(family).likelihood(SENTENCES, hide_rest=hide_rest)
    expected = [pseudo_log_probability(family, text, hide_rest) for text in SENTENCES]
    np.testing.assert_allclose(-found.nats, expected, rtol=1e-5)
    others = [pseudo_log_probability(family, text, not hide_rest) for text in SENTENCES]
    assert abs(-found.nats - others).max() > 0.05  # the words have several tokens


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_company_and_small_batches_change_nothing(family: str, monkeypatch):
    together = scorer_of(family).likelihood(SENTENCES, hide_rest=True)
    alone = [scorer_of(family).likelihood([text], hide_rest=True).nats[0] for text in SENTENCES]
    np.testing.assert_allclose(together.nats, alone, rtol=1e-5)
    monkeypatch.setattr("textssl.inference.language.likelihood.LOGITS", 1)
    np.testing.assert_allclose(scorer_of(family).likelihood(SENTENCES, hide_rest=True).nats, alone, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama", "bert", "modernbert"])
def test_a_family_without_a_known_head_gives_the_same(family: str, monkeypatch):
    known = scorer_of(family).likelihood(SENTENCES).nats
    monkeypatch.setattr("textssl.inference.language.likelihood.TRANSFORMS", {})
    np.testing.assert_allclose(scorer_of(family).likelihood(SENTENCES).nats, known, rtol=1e-5)


def test_long_texts_in_parts_keep_words_hidden_inside_their_part():
    text = " ".join(SENTENCES)
    found = pseudo_likelihood(model("bert"), tiny_tokenizer(), [text, "A"], context=16, hide_rest=True)
    assert np.isfinite(found.nats).all() and found.context == 16
    assert found.tokens.tolist() == [
        len(tiny_tokenizer()(t, add_special_tokens=False)["input_ids"]) for t in (text, "A")
    ]


def test_a_text_without_spaces_hides_no_more_than_a_long_word():
    words = tiny_tokenizer()
    text = "antidisestablishmentarianism" * 9
    ids = words(text, add_special_tokens=False)["input_ids"]
    (ends,) = _word_ends(words, [text])
    assert len(ids) > 3 * LONGEST_WORD
    assert max(end - place for place, end in enumerate(ends)) == LONGEST_WORD and ends[-1] == len(ids)


def test_an_empty_text_among_others_costs_nothing():
    assert causal_likelihood(model("llama"), tiny_tokenizer(), ["", "A man."]).nats[0] == 0
    with pytest.raises(UserError, match="no text to score"):
        causal_likelihood(model("llama"), tiny_tokenizer(), [""])
