"""Folders with an exported transformer that are damaged: one message, whichever runtime there is (here none)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer

from tests.evaluation.folders import save_model
from textssl.errors import UserError
from textssl.inference import exported
from textssl.inference.encoders import load_encoder
from textssl.inference.exported import Session

WIDTH, TEXTS = 32, ["The harbour.", "One word and another."]


class Graph(Session):
    """In the place of onnxruntime's: the id of a token in every number of its hidden state."""

    package, inputs = "onnxruntime", frozenset({"input_ids", "attention_mask"})

    def __init__(self, file: Path, compute: str) -> None: ...

    def __call__(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return np.repeat(arrays["input_ids"][..., None], WIDTH, axis=2).astype(np.float32)


@pytest.fixture
def folders(tmp_path, monkeypatch) -> dict[str, Path]:
    """A plain folder and one of sentence-transformers, both with a graph that is never read."""
    monkeypatch.setattr(exported, "OnnxSession", Graph)
    plain = save_model(tmp_path / "plain", "bert")
    modules = [Transformer(str(plain), max_seq_length=24), Pooling(WIDTH, "cls"), Dense(WIDTH, 16)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "sentence"))
    folders = {name: tmp_path / name for name in ("plain", "sentence")}
    for folder in folders.values():
        (folder / "model.safetensors").unlink()
        (folder / "model.onnx").write_bytes(b"")
    return folders


def changed(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_whole_folders_are_read(folders):
    assert {name: load_encoder(folder).embed(TEXTS).shape for name, folder in folders.items()} == {
        "plain": (2, WIDTH),
        "sentence": (2, 16),
    }


@pytest.mark.parametrize("kind", ["Pooling", "Dense"])
@pytest.mark.parametrize("text", ["{", "", "[]", "[1]", '{"nothing": 1}', "\xff", None])
def test_a_damaged_module_is_one_message(kind, text, folders):
    place = next(folders["sentence"].glob(f"*_{kind}"))
    if text is None:
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
    else:
        (place / "config.json").write_bytes(text.encode("latin-1"))
    why = "there is no such folder" if text is None else r"\S"
    with pytest.raises(UserError, match=rf"{place.name} could not be loaded as {kind}: {why}"):
        load_encoder(folders["sentence"])


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_damaged_weights_of_a_module_are_one_message(damage, folders):
    place = next(folders["sentence"].glob("*_Dense"))
    weights = place / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:40])
    else:
        weights.unlink()
    with pytest.raises(UserError, match=rf"{place.name} could not be loaded as Dense: \S"):
        load_encoder(folders["sentence"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompts": ["query"]}, "could not be loaded by sentence-transformers: "),
        ({"prompts": {}, "default_prompt_name": "query!"}, "could not be loaded by sentence-transformers: .*query!"),
        ({"prompts": {"query": 5}, "default_prompt_name": "query"}, "could not be loaded by sentence-transformers: "),
        ({"prompts": {"query": ["a"]}, "default_prompt_name": "query"}, r"has a prompt that is no text: \['a'\]"),
    ],
)
def test_damaged_prompts_are_one_message(settings, said, folders):
    changed(folders["sentence"] / "config_sentence_transformers.json", **settings)
    with pytest.raises(UserError, match=said):
        load_encoder(folders["sentence"])


@pytest.mark.parametrize("size", [None, "32", 0])
def test_a_width_that_is_not_said_is_one_message(size, folders, monkeypatch):
    config = exported.load_config(folders["plain"])
    config.__dict__["hidden_size"] = size  # past the check of transformers, which not every family has
    monkeypatch.setattr(exported, "load_config", lambda place: config)
    with pytest.raises(UserError, match=r"plain/config\.json does not say how wide .* it needs a hidden_size"):
        load_encoder(folders["plain"])


def test_a_graph_of_another_width_is_one_message(folders):
    changed(folders["plain"] / "config.json", hidden_size=64)
    with pytest.raises(
        UserError, match=r"model\.onnx gives .* \(2, \d+, 32\), where hidden states have \(2, \d+, 64\)"
    ):
        load_encoder(folders["plain"]).embed(TEXTS)


def test_a_graph_that_does_not_run_is_one_message(folders, monkeypatch):
    def fails(self, arrays):
        raise RuntimeError("Got invalid dimensions for input: input_ids\n index: 1 Got: 7 Expected: 128")

    monkeypatch.setattr(Graph, "__call__", fails)
    with pytest.raises(UserError, match=r"model\.onnx could not be run by onnxruntime: Got invalid dimensions"):
        load_encoder(folders["sentence"]).embed(TEXTS)
