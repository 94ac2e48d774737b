from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.folders import model, save_model
from tests.tiny import texts, tiny_tokenizer
from textssl.errors import UserError
from textssl.inference.cpu_threads import Lanes
from textssl.inference.encoders import load_encoder
from textssl.inference.features import Tokenized, TransformerEncoder, batches_by_length, mean_pool

TEXTS = ["The harbour.", "", "One word and another, and then some more of them.", *texts()[:6]]


def alone(family: str, text: str, max_tokens: int) -> np.ndarray:
    """Mean pooling of one text, written out."""
    ids = tiny_tokenizer()(text, truncation=True, max_length=max_tokens, return_tensors="pt")["input_ids"]
    backbone = model(family).base_model if family != "t5" else model(family).get_encoder()
    with torch.no_grad():
        mean = backbone(input_ids=ids).last_hidden_state[0].mean(0)
    return (mean / mean.norm()).numpy()


@pytest.mark.parametrize("family", ["modernbert", "bert", "llama", "gpt2", "t5"])
def test_batched_features_equal_those_of_each_text_alone(family: str):
    encoder = TransformerEncoder(model(family), tiny_tokenizer(), max_tokens=48)
    features = encoder.embed(TEXTS)
    assert features.shape == (len(TEXTS), 32) and features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    for row, text in zip(features, TEXTS, strict=True):
        np.testing.assert_allclose(row, alone(family, text, 48), atol=2e-5)


def test_reading_counts_texts_tokens_and_truncation():
    encoder = TransformerEncoder(model("modernbert"), tiny_tokenizer(), max_tokens=48)
    encoder.embed(TEXTS)
    lengths = [len(tiny_tokenizer()(text)["input_ids"]) for text in TEXTS]
    reading = encoder.take_reading()
    assert (reading.texts, reading.truncated) == (len(TEXTS), sum(length > 48 for length in lengths))
    assert reading.tokens == sum(min(length, 48) for length in lengths)
    assert 0 < reading.truncated_share < 1
    assert encoder.reading.texts == 0


def test_capacity_of_the_model_limits_max_tokens():
    assert TransformerEncoder(model("bert"), tiny_tokenizer(), max_tokens=512).max_tokens == 64


def test_a_live_model_keeps_its_mode_its_random_state_and_its_tokenizer():
    live, words = model("bert"), tiny_tokenizer()
    live.train()
    try:
        state = torch.random.get_rng_state()
        first = TransformerEncoder(live, words, max_tokens=16).embed(TEXTS)
        again = TransformerEncoder(live, words, max_tokens=16).embed(TEXTS)  # dropout would differ
        assert live.training
        assert torch.equal(torch.random.get_rng_state(), state)
        np.testing.assert_array_equal(first, again)
    finally:
        live.eval()
    assert words.backend_tokenizer.truncation is None


def test_decoder_without_a_pad_token():
    words = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer, eos_token="[SEP]")
    assert words.pad_token_id is None
    features = TransformerEncoder(model("gpt2"), words, max_tokens=48).embed(TEXTS[:3])
    expected = TransformerEncoder(model("gpt2"), tiny_tokenizer(), max_tokens=48).embed(TEXTS[:3])
    np.testing.assert_allclose(features, expected, atol=2e-5)


def test_text_without_tokens_is_a_row_of_zeros_and_no_texts_is_no_row():
    class Bare(TransformerEncoder):
        def tokenize(self, texts):
            return Tokenized([[] for _ in texts], np.zeros(len(texts), dtype=np.int64), 0)

    assert not Bare(model("bert"), tiny_tokenizer()).embed(["x"]).any()
    assert TransformerEncoder(model("bert"), tiny_tokenizer()).embed([]).shape == (0, 32)


def test_broken_weights_are_named():
    class Broken(TransformerEncoder):
        def forward(self, items):
            return np.full((len(items), self.width), np.nan, dtype=np.float32)

    with pytest.raises(UserError, match="not finite"):
        Broken(model("bert"), tiny_tokenizer()).embed(["x"])


def test_mean_pool_ignores_padding():
    hidden = torch.randn(2, 3, 4)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    torch.testing.assert_close(mean_pool(hidden, mask), torch.stack([hidden[0, :2].mean(0), hidden[1, 0]]))


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 400))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], budget: int):
    sizes = np.array(lengths, dtype=np.int64)
    batches = list(batches_by_length(sizes, budget))
    assert sorted(place for batch in batches for place in batch) == list(np.flatnonzero(sizes))
    assert all(len(batch) == 1 or sizes[batch].max() * len(batch) <= budget for batch in batches)


@pytest.mark.parametrize("family", ["modernbert", "bert", "llama"])
def test_bits_do_not_depend_on_the_number_of_threads(family: str, tmp_path):
    encoder = load_encoder(save_model(tmp_path, family), max_tokens=64)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(encoder.embed(TEXTS * 5))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_windows_are_embedded_one_after_the_other_and_an_error_in_between_ends_it():
    encoder = TransformerEncoder(model("bert"), tiny_tokenizer(), max_tokens=16)
    found = list(encoder.embed_windows(iter([TEXTS[:3], TEXTS[3:]])))
    np.testing.assert_allclose(np.concatenate([vectors for vectors, _ in found]), encoder.embed(TEXTS), atol=1e-6)
    assert [reading.texts for _, reading in found] == [3, len(TEXTS) - 3]

    def stop(count: int) -> None:
        raise KeyError(count)

    with pytest.raises(KeyError):
        list(encoder.embed_windows(iter([TEXTS]), on_batch=stop))


def test_lanes_keep_the_order_and_give_exceptions_on():
    with Lanes(3) as lanes:
        assert [result for _, result in lanes.map(lambda work: work * work, range(50))] == [n * n for n in range(50)]
        assert {torch_threads for _, torch_threads in lanes.map(lambda _: torch.get_num_threads(), range(20))} == {1}
        with pytest.raises(ZeroDivisionError):
            list(lanes.map(lambda work: 1 // work, range(5)))
