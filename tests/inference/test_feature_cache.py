from __future__ import annotations

import numpy as np

from tests.evaluation.folders import model, topics
from tests.tiny import tiny_tokenizer
from textssl.inference.feature_cache import Remembered
from textssl.inference.features import TransformerEncoder


def test_a_list_of_texts_is_read_once_and_counted_each_time():
    encoder = TransformerEncoder(model("bert"), tiny_tokenizer(), max_tokens=8)
    remembered = Remembered(encoder)
    texts, _ = topics(12)
    first = remembered.embed(texts)
    reading = remembered.take_reading()
    assert reading.texts == 12 and reading.truncated == 12 and reading.tokens == 96
    encoder.forward = None  # type: ignore[assignment]  # a second pass would fail
    assert (remembered.embed(list(texts)) == first).all()
    assert remembered.take_reading() == reading
    assert remembered.take_reading().texts == 0 and remembered.max_tokens == 8


def test_another_order_or_cut_of_the_texts_is_another_list():
    remembered = Remembered(TransformerEncoder(model("bert"), tiny_tokenizer()))
    forward, backward = remembered.embed(["wave boat", "oven"]), remembered.embed(["oven", "wave boat"])
    assert np.allclose(forward, backward[::-1], atol=1e-6)
    assert remembered.embed(["wave", "boat oven"]).shape == forward.shape
    assert not np.allclose(remembered.embed(["wave", "boat oven"]), forward, atol=1e-3)
