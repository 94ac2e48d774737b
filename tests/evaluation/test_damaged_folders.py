"""Model folders with a damaged file: a clear error that names the folder, or the same answers as before; never another
error, and never other answers."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.folders import save_model
from tests.tiny import tiny_tokenizer
from textssl.errors import UserError
from textssl.inference.encoders import load_encoder
from textssl.inference.language.scorer import folder_scorer
from textssl.models.build import build_model
from textssl.models.sentence import build_sentence_model
from textssl.sections import ModelConfig

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 12345\n"
TEXTS = ["Two words", "A ship on the water."]
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a Git-LFS pointer": lambda content: LFS,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "a list": lambda content: b"[]",
    "a list of a number": lambda content: b"[1]",
    "a number": lambda content: b"3",
    "an empty object": lambda content: b"{}",
    "not UTF-8": lambda content: b"\xff\xfe" + content,
    "a foreign pickle": lambda content: pickle.dumps({"weight": [1.0]}),
    "deep nesting": lambda content: b"[" * 100_000,
}


def sentence_folder(folder: Path) -> Path:
    """A sentence-transformers folder on a transformer."""
    config = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    options = {"head": None, "sequence_length": 32, "seed": 0}
    model = build_sentence_model(ModelConfig(config=config), tiny_tokenizer(), **options)
    return model.export(folder, tiny_tokenizer())


MAKERS: dict[str, Callable[[Path], Path]] = {
    "bert": lambda folder: save_model(folder, "bert"),
    "sentence": sentence_folder,
}
CASES = [(kind, damage) for kind in MAKERS for damage in DAMAGES]
VALID = {("an empty object", "tokenizer_config.json")}  # a configuration that says nothing, which no check could tell


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "damage"), CASES)
def test_damage_is_named_or_harmless(kind, damage, tmp_path):
    folder = MAKERS[kind](tmp_path / "model")
    expected = load_encoder(folder).embed(TEXTS)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in (".json", ".safetensors"))
    assert len(files) >= 4
    spec = ModelConfig(pretrained=str(folder))
    wrong = []
    for file in files:
        if (damage, file.name) in VALID:
            continue
        content = file.read_bytes()
        file.write_bytes(DAMAGES[damage](content))
        for name, load in {
            "encoder": lambda: load_encoder(folder).embed(TEXTS),
            "training": lambda: build_model(spec, tiny_tokenizer(), causal=None, sequence_length=16, seed=0),
        }.items():
            try:
                found = load()
            except UserError as error:
                if str(folder) not in str(error):
                    wrong.append(f"{name}, {file.name}: the folder is not named: {error}")
            except Exception as error:
                wrong.append(f"{name}, {file.name}: {type(error).__name__}: {str(error)[:120]}")
            else:
                if name == "encoder" and not np.allclose(found, expected, atol=1e-6):  # type: ignore[arg-type]
                    wrong.append(f"{name}, {file.name}: other vectors, without a word")
        file.write_bytes(content)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        ("config.json", "architectures", [[]], None),
        (
            "tokenizer_config.json",
            "model_max_length",
            "many",
            "model_max_length is .many., it must be a number",
        ),
        ("tokenizer_config.json", "pad_token", "[A new one]", "gives token 5.., but the model has 512 tokens"),
    ],
)
def test_values_of_another_type_or_model(file, key, value, message, tmp_path):
    folder = MAKERS["bert"](tmp_path / "model")
    values = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**values, key: value}))
    if message is None:
        try:
            assert folder_scorer(folder) is None
        except UserError as error:  # transformers 5.17 does not take such a file at all
            assert f"Validation error for field '{key}'" in str(error)
        return
    with pytest.raises(UserError, match=message):
        load_encoder(folder)
