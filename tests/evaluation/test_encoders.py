from __future__ import annotations

import json

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding, Transformer

from tests.evaluation.folders import model, save_model
from tests.tiny import texts, tiny_tokenizer
from textssl.errors import UserError
from textssl.evaluation.encoders import load_encoder, random_encoder
from textssl.evaluation.features import TransformerEncoder
from textssl.evaluation.sentence import SentenceEncoder

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
