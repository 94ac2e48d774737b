from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
)
from torch import nn

from tests.evaluation.folders import model, save_model
from tests.tiny import texts, tiny_tokenizer
from textssl.errors import UserError
from textssl.inference.encoders import load_encoder, load_sentence_model, random_encoder
from textssl.inference.features import TransformerEncoder
from textssl.inference.sentence_encoder import PaddedEncoder, SentenceEncoder, StaticEncoder, sentence_encoder

TEXTS = ["The harbour.", "One word and another.", *texts()[:5]]


@pytest.fixture(scope="module")
def sentence_folder(tmp_path_factory):
    """A sentence-transformers folder that pools the first token, so that mean pooling would give itself away."""
    folder = tmp_path_factory.mktemp("sentence")
    transformer = Transformer(str(save_model(folder / "bert", "bert")), max_seq_length=32)
    SentenceTransformer(modules=[transformer, Pooling(32, pooling_mode="cls"), Normalize()]).save(str(folder / "model"))
    return folder / "model"


def test_folder_of_a_language_model_gives_the_features_of_its_backbone(tmp_path):
    encoder = load_encoder(save_model(tmp_path, "modernbert"), max_tokens=40)
    expected = TransformerEncoder(model("modernbert"), tiny_tokenizer(), max_tokens=40).embed(TEXTS)
    np.testing.assert_allclose(encoder.embed(TEXTS), expected, atol=1e-6)


def test_sentence_model_pools_as_it_says(sentence_folder):
    encoder = load_encoder(sentence_folder)
    assert isinstance(encoder, SentenceEncoder) and encoder.max_tokens == 32
    expected = SentenceTransformer(str(sentence_folder), device="cpu").encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(encoder.embed(TEXTS), expected, atol=1e-6)
    assert encoder.reading.truncated == sum(len(tiny_tokenizer()(text)["input_ids"]) > 32 for text in TEXTS)


def test_static_embeddings_read_everything(tmp_path):
    SentenceTransformer(modules=[StaticEmbedding(tiny_tokenizer(), embedding_dim=16)]).save(str(tmp_path))
    encoder = load_encoder(tmp_path, max_tokens=8)
    assert encoder.max_tokens is None
    assert encoder.embed(TEXTS).shape == (len(TEXTS), 16)
    assert encoder.reading.truncated == 0 and encoder.reading.tokens > 100
    assert np.abs(random_encoder(tmp_path, seed=0).embed(TEXTS) - encoder.embed(TEXTS)).max() > 0.1


@pytest.mark.parametrize("kind", ["plain", "sentence"])
def test_random_weights_depend_on_the_seed_alone(kind, tmp_path, sentence_folder):
    folder = sentence_folder if kind == "sentence" else save_model(tmp_path, "llama")
    first, again, other = (random_encoder(folder, seed=seed).embed(TEXTS) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    trained = load_encoder(folder).embed(TEXTS)
    assert np.abs(first - other).max() > 0.05 and np.abs(first - trained).max() > 0.05


def test_sentence_folder_that_cannot_be_loaded(tmp_path):
    modules = [{"idx": 0, "name": "0", "path": "", "type": "some_package.Module"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UserError, match="could not be loaded by sentence-transformers"):
        load_encoder(tmp_path)


def modules(kind: str, folder: Path) -> list[nn.Module]:
    """A stack of stock modules."""
    if kind == "static":
        return [StaticEmbedding(tiny_tokenizer(), embedding_dim=16)]
    if kind == "static with dense":
        return [StaticEmbedding(tiny_tokenizer(), embedding_dim=16), Dense(16, 8)]
    family = "gpt2" if kind == "decoder" else "bert"
    transformer = Transformer(str(save_model(folder / "inner", family)), max_seq_length=32)
    if kind == "dense and normalize":
        return [transformer, Pooling(32, pooling_mode="mean"), Dense(32, 8, activation_function=nn.Tanh()), Normalize()]
    return [transformer, Pooling(32, pooling_mode="lasttoken" if kind == "decoder" else ("mean", "max"))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["static", "static with dense", "dense and normalize", "several poolings", "decoder"])
def test_vectors_are_those_of_encode(kind, tmp_path):
    SentenceTransformer(modules=modules(kind, tmp_path)).save(str(tmp_path / "model"))
    peer = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    encoder = load_encoder(tmp_path / "model", max_tokens=None, normalize=None)
    assert type(encoder) is (StaticEncoder if kind.startswith("static") else PaddedEncoder)
    expected = peer.encode([*TEXTS, ""], show_progress_bar=False, batch_size=1)
    np.testing.assert_allclose(encoder.embed([*TEXTS, ""]), expected, atol=1e-5)


def test_prompts_by_default_by_name_and_as_text(tmp_path):
    model = SentenceTransformer(
        modules=modules("dense and normalize", tmp_path),
        prompts={"query": "Find: ", "document": "Text: "},
        default_prompt_name="query",
    )
    model.save(str(tmp_path / "model"))
    for prompt, text in ((None, "Find: "), ("document", "Text: "), ("Text: ", "Text: "), ("", "")):
        expected = model.encode(TEXTS, prompt=text, show_progress_bar=False)
        encoder = load_encoder(tmp_path / "model", max_tokens=None, prompt=prompt)
        np.testing.assert_allclose(encoder.embed(TEXTS), expected, atol=1e-5)
        own = SentenceEncoder(load_sentence_model(tmp_path / "model"), max_tokens=None, prompt=text)
        np.testing.assert_allclose(own.embed(TEXTS), expected, atol=1e-5)
    with pytest.raises(UserError, match="no prompt passage; it has query, document"):
        load_encoder(tmp_path / "model", prompt="passage")


def test_models_that_read_more_than_ids_go_through_their_own_encode(tmp_path):
    model = SentenceTransformer(modules=modules("dense and normalize", tmp_path))
    expected = model.encode(TEXTS, prompt="Find it: ", show_progress_bar=False)
    pooling: Any = model[1]
    pooling.include_prompt = False  # its pooling has to know where the prompt ends
    encoder = sentence_encoder(model, max_tokens=None, unit_length=False, prompt="Find it: ")
    assert type(encoder) is SentenceEncoder
    vectors = encoder.embed(TEXTS)
    np.testing.assert_allclose(vectors, model.encode(TEXTS, prompt="Find it: ", show_progress_bar=False), atol=1e-5)
    assert np.abs(vectors - expected).max() > 1e-3


def test_without_normalizing_the_lengths_are_those_of_the_layer_before(tmp_path):
    SentenceTransformer(modules=modules("dense and normalize", tmp_path)).save(str(tmp_path / "model"))
    bare = load_sentence_model(tmp_path / "model")
    del bare[-1]
    raw = load_encoder(tmp_path / "model", normalize=False).embed(TEXTS)
    np.testing.assert_allclose(raw, bare.encode(TEXTS, show_progress_bar=False), atol=1e-5)
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).max() > 0.01


def test_prompt_for_a_plain_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="--prompt is for sentence-transformers models"):
        load_encoder(save_model(tmp_path, "bert"), prompt="query")
