"""The model around the rows: its loss, its empty batches, its folder, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSeq2SeqLM, AutoTokenizer

from tests.models.seq2seq.small import CONFIGS, make_pairs, small_seq2seq
from tests.models.small import VOCABULARY, word_tokenizer
from textssl.batch import empty_like
from textssl.errors import UserError
from textssl.models.build import quiet
from textssl.models.seq2seq.model import build_seq2seq
from textssl.sections import ModelConfig
from textssl.tokenizer.sentinels import SENTINELS, sentinel_ids, with_sentinels


@pytest.mark.parametrize("name", CONFIGS)
def test_cross_entropy_is_that_of_the_logits(name):
    model = small_seq2seq(name)
    hidden, labels = torch.randn(9, 32), torch.arange(9) + 5
    with torch.no_grad():
        logits = model.logits(hidden).double().numpy()
        found = float(model.cross_entropy(hidden, labels))
    log_total = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    assert found == pytest.approx((log_total - logits[np.arange(9), labels]).sum(), rel=1e-5)


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_batch_of_no_rows_gives_every_parameter_a_gradient_of_zero(name):
    model, batch = small_seq2seq(name).train(), empty_like(make_pairs())
    hidden, _ = model(batch)
    assert hidden.shape == (0, 17, 32)
    model.cross_entropy(hidden.flatten(0, 1), torch.zeros(0, dtype=torch.int64)).backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_the_folder_is_a_stock_one(name, tmp_path):
    model, batch = small_seq2seq(name), make_pairs([[9]], [[6]], (9, 6))
    model.export(tmp_path / "model", word_tokenizer())
    with quiet():
        stock, report = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "model", output_loading_info=True)
        encoder, bare = AutoModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not bare["missing_keys"]
    ids, written = batch.source.ids, batch.target.ids
    with torch.no_grad():
        expected = stock(input_ids=ids, decoder_input_ids=written).logits[0]
        torch.testing.assert_close(model.logits(model(batch)[0][0]), expected, atol=1e-4, rtol=1e-4)
        states = encoder.get_encoder()(input_ids=ids).last_hidden_state
        torch.testing.assert_close(model.states(batch.source), states, atol=1e-4, rtol=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert len(tokenizer) == stock.config.vocab_size == VOCABULARY + 100
    assert tokenizer.model_max_length == (40 if name == "bart" else 32)
    begin = 3 if name == "bart" else 0  # the end of a text for BART, padding for T5
    assert stock.generation_config.decoder_start_token_id == model.begin == begin
    assert stock.generation_config.eos_token_id == 3 and stock.generation_config.forced_eos_token_id is None


def test_sentinels_are_appended_once_and_the_tokenizer_stays():
    words = word_tokenizer()
    longer = with_sentinels(words)
    assert len(words) == VOCABULARY and sentinel_ids(words) == ()
    assert sentinel_ids(longer) == tuple(range(VOCABULARY, VOCABULARY + 100)) and len(SENTINELS) == 100
    assert sentinel_ids(with_sentinels(longer)) == sentinel_ids(longer) and len(with_sentinels(longer)) == len(longer)
    text = f"w7 {SENTINELS[0]} w8{SENTINELS[99]} w9"
    ids = longer(text, add_special_tokens=False)["input_ids"]
    assert ids == [7, VOCABULARY, 8, VOCABULARY + 99, 9]
    assert str(longer.decode(ids, skip_special_tokens=True)).split() == ["w7", "w8", "w9"]


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"preset": "modernbert-nano"}, r"modernbert is not a supported encoder-decoder .* model\.preset=t5-nano"),
        ({"preset": "llama-nano"}, "llama is not a supported encoder-decoder"),
        ({"config": {"model_type": "pegasus"}}, "pegasus is not a supported encoder-decoder"),
        ({"preset": "t5-nano", "attention": "flex_attention"}, r"model\.attention is flex_attention"),
        ({"preset": "t5-nano", "frozen_layers": 1}, r"model\.frozen_layers"),
    ],
)
def test_mistakes(spec, message):
    with pytest.raises(UserError, match=message):
        build_seq2seq(ModelConfig(**spec), word_tokenizer(), sequence_length=16, seed=0)


def test_training_goes_on_from_its_own_folder_and_refuses_one_without_sentinels(tmp_path):
    model = small_seq2seq("bart")
    model.export(tmp_path / "own", word_tokenizer())
    spec = ModelConfig(pretrained=str(tmp_path / "own"))
    again = build_seq2seq(spec, word_tokenizer(), sequence_length=32, seed=5)
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), again.parameters(), strict=True))
    assert again.sentinels == model.sentinels
    with pytest.raises(UserError, match=r"40 tokens, but data\.sequence_length is 64"):
        build_seq2seq(spec, word_tokenizer(), sequence_length=64, seed=5)
    model.model.resize_token_embeddings(VOCABULARY)
    model.model.save_pretrained(tmp_path / "small")
    spec = ModelConfig(pretrained=str(tmp_path / "small"))
    with pytest.raises(UserError, match=r"48 tokens, too few for the 148 .* sentinels"):
        build_seq2seq(spec, word_tokenizer(), sequence_length=16, seed=5)


@pytest.mark.parametrize("family", ["t5", "mt5"])
def test_a_new_t5_has_small_embeddings_and_a_trained_one_keeps_its_own(family, tmp_path):
    def built(**spec):
        model = build_seq2seq(ModelConfig(**spec), word_tokenizer(), sequence_length=32, seed=0)
        return model, model.output.weight  # which is that of the embeddings

    model, new = built(config={"model_type": family, **CONFIGS[family]})
    assert new.std().item() == pytest.approx(0.1, rel=0.1)
    model.export(tmp_path / "own", word_tokenizer())
    assert torch.equal(built(pretrained=str(tmp_path / "own"))[1], new)
    assert built(pretrained=str(tmp_path / "own"), reinitialise=True)[1].std().item() == pytest.approx(0.1, rel=0.1)


def test_activations_can_be_computed_again():
    model, batch = small_seq2seq("t5").train(), make_pairs()
    gradients = []
    for again in (False, True):
        if again:
            model.checkpoint_gradients()
        model.zero_grad()
        model(batch)[0].square().mean().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))
