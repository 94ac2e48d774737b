"""Fine-tuned folders as functions: transformers' own answers, heads beside encoders, folders that give no labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.evaluation.folders import save_model, topics
from tests.models.test_sentence import shaken
from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.inference.encoders import load_encoder
from textssl.inference.predictor import Classifier, HeadedEncoder, load_predictor
from textssl.models.classifier import build_classifier
from textssl.models.linear_head import LABELS, LinearHead, softmax
from textssl.models.sentence import build_sentence_model
from textssl.sample_types import LabelFacts
from textssl.sections import ModelConfig

LENGTH = 24
TEXTS = [*topics(20)[0], "one", "wave boat " * 30]


def save_classifier(folder: Path, family: str, facts: LabelFacts) -> Path:
    stock = save_model(folder / "stock", family)
    words = AutoTokenizer.from_pretrained(stock)
    backbone = build_classifier(ModelConfig(pretrained=str(stock)), words, facts, sequence_length=LENGTH, seed=0)
    return shaken(backbone).export(folder / "classifier", words)


def save_headed(folder: Path, *, static: bool) -> Path:
    words = tiny_tokenizer()
    if static:
        spec = ModelConfig(config={"model_type": "static", "hidden_size": 32})
    else:
        spec = ModelConfig(pretrained=str(save_model(folder / "stock", "bert")))
    encoder = build_sentence_model(spec, words, head=None, sequence_length=LENGTH, seed=0).eval()
    path = encoder.export(folder / "headed", words)
    rng = np.random.default_rng(0)
    LinearHead(["no", "yes", "maybe"], 5 * rng.normal(size=(3, 32)), rng.normal(size=3)).save(path)
    return path


def predictions(folder: Path, items: list, window: int = 7) -> np.ndarray:
    windows = [items[at : at + window] for at in range(0, len(items), window)]
    found = list(load_predictor(folder).stream(windows))
    assert [len(part) for part in found] == [len(part) for part in windows]
    return np.concatenate(found)


@torch.no_grad()
def by_transformers(folder: Path, items: list) -> np.ndarray:
    """Logits of one text (or pair) after the other."""
    stock = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    words = AutoTokenizer.from_pretrained(folder)
    pairs = [(item,) if isinstance(item, str) else item for item in items]
    return np.concatenate([stock(**words(*pair, truncation=True, return_tensors="pt")).logits for pair in pairs])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["bert", "modernbert", "llama", "gpt2"])
@pytest.mark.parametrize("pairs", [False, True])
def test_probabilities_are_those_of_transformers_in_the_order_of_the_texts(family, pairs, tmp_path):
    folder = save_classifier(tmp_path, family, LabelFacts(("b", "a", "10"), (1, 1, 1)))
    items = list(zip(TEXTS, TEXTS[::-1], strict=True)) if pairs else TEXTS
    predictor = load_predictor(folder)
    assert isinstance(predictor, Classifier) and predictor.labels == ["b", "a", "10"], "the order of the outputs"
    found = predictions(folder, items)
    np.testing.assert_allclose(found, softmax(by_transformers(folder, items)), atol=1e-5)
    assert found.std(0).min() > 1e-2, "the texts differ"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_decoder_without_a_padding_token_finds_the_end_of_each_text(family, tmp_path):
    folder = save_classifier(tmp_path, family, LabelFacts(("b", "a", "10"), (1, 1, 1)))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pad_token_id": None}))
    np.testing.assert_allclose(predictions(folder, TEXTS), softmax(by_transformers(folder, TEXTS)), atol=1e-5)


def test_scores_are_the_output_itself(tmp_path):
    folder = save_classifier(tmp_path, "bert", LabelFacts(mean=2.5, deviation=1.0))
    assert load_predictor(folder).labels == []
    found = predictions(folder, TEXTS)
    assert found.shape == (len(TEXTS),) and found.dtype == np.float64
    np.testing.assert_allclose(found, by_transformers(folder, TEXTS)[:, 0], atol=1e-5)


@pytest.mark.parametrize("static", [False, True])
def test_a_head_reads_the_vectors_of_its_encoder(static, tmp_path):
    folder = save_headed(tmp_path, static=static)
    predictor = load_predictor(folder)
    assert isinstance(predictor, HeadedEncoder) and predictor.labels == ["no", "yes", "maybe"]
    vectors = load_encoder(folder, max_tokens=None, normalize=None).embed(TEXTS)
    np.testing.assert_allclose(predictions(folder, TEXTS), softmax(LinearHead.load(folder).logits(vectors)), atol=1e-6)


def test_a_head_takes_no_pairs(tmp_path):
    predictor = load_predictor(save_headed(tmp_path, static=True))
    with pytest.raises(UserError, match=r"classifies single texts, and the input holds pairs \(text_a, text_b\)"):
        list(predictor.stream([[("one", "two")]]))


def test_a_run_folder_stands_for_its_model(tmp_path):
    folder = save_classifier(tmp_path, "bert", LabelFacts(("a", "b"), (1, 1)))
    (tmp_path / "run").mkdir()
    folder.rename(tmp_path / "run" / "model")
    assert load_predictor(tmp_path / "run").labels == ["a", "b"]


def test_folders_that_give_no_labels_are_told_apart(tmp_path):
    wanted = "give a folder that `textssl finetune` left"
    with pytest.raises(UserError, match=f"holds a BertForMaskedLM, which gives no labels: {wanted}"):
        load_predictor(save_model(tmp_path / "bert", "bert"))
    headed = save_headed(tmp_path, static=True)
    (headed / LABELS).unlink()
    with pytest.raises(UserError, match=f"is a sentence encoder without a classifier: {wanted}"):
        load_predictor(headed)
    with pytest.raises(UserError, match="there is no model folder"):
        load_predictor(tmp_path / "none")
    classifier = save_classifier(tmp_path, "bert", LabelFacts(("a", "b"), (1, 1)))
    config = json.loads((classifier / "config.json").read_text())
    for kind, message in (("multi_label_classification", "several labels at once"), ("regression", "several scores")):
        (classifier / "config.json").write_text(json.dumps({**config, "problem_type": kind}))
        with pytest.raises(UserError, match=f"{message}.*`textssl predict` gives one label, or one score"):
            load_predictor(classifier)
    (classifier / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="could not be loaded as AutoModelForSequenceClassification"):
        load_predictor(classifier)
