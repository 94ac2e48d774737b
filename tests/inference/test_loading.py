from __future__ import annotations

import json
import shutil

import huggingface_hub
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, PretrainedConfig

from tests.evaluation.folders import save_model
from textssl.errors import UserError
from textssl.inference import loading
from textssl.inference.loading import (
    context_limit,
    find_model,
    language_model_kind,
    load_config,
    load_tokenizer,
    load_weights,
    weights_hash,
)


def test_a_run_folder_stands_for_its_model(tmp_path):
    folder = save_model(tmp_path / "run" / "model", "bert")
    assert find_model(folder) == folder
    assert find_model(tmp_path / "run") == folder


def test_what_is_not_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no model folder .*nowhere.*RUN/model"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"neither config.json nor modules.json"):
        find_model(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        find_model(tmp_path / "file")
    with pytest.raises(UserError, match=r"no folder owner/name here, and the hub is not asked"):
        find_model("owner/name")  # the tests are offline


def test_broken_folders_are_named(tmp_path, capfd):
    folder = save_model(tmp_path / "model", "bert")
    assert load_weights(folder, AutoModel).training is False
    weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(UserError, match="could not be loaded as AutoModel"):
        load_weights(folder, AutoModel)
    lacking = {name: tensor for name, tensor in weights.items() if "layer.1" not in name}
    save_file(lacking, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack 16 parameters of BertForMaskedLM, first bert.encoder.layer.1"):
        load_weights(folder, AutoModelForMaskedLM)
    (folder / "config.json").write_text(json.dumps({"model_type": "unheard_of"}))
    with pytest.raises(UserError, match="does not know the configuration"):
        load_config(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="holds no tokenizer"):
        load_tokenizer(folder)
    assert capfd.readouterr() == ("", "")


def test_a_hub_that_cannot_be_reached_is_said_once(monkeypatch):
    monkeypatch.setattr(loading, "unreachable", lambda: "the hub (https://hub) could not be reached: no network")
    with pytest.raises(UserError) as caught:
        find_model("owner/nosuchmodel")
    assert str(caught.value) == (
        "there is no folder owner/nosuchmodel here, and the hub (https://hub) could not be reached: no network; a "
        "model of your own is named by its path, such as runs/mlm/model"
    )


@pytest.mark.parametrize("reason", [None, "offline"])
def test_the_hub_is_asked_where_it_answers_and_its_cache_where_not(monkeypatch, tmp_path, reason):
    asked = []
    monkeypatch.setattr(loading, "unreachable", lambda: reason)
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.append((name, options)) or str(tmp_path)
    )
    assert find_model("owner/name") == tmp_path
    assert asked[0][0] == "owner/name" and asked[0][1]["local_files_only"] == (reason is not None)


def test_kind_and_context(tmp_path):
    for family, kind, limit in [("bert", "masked", 64), ("gpt2", "causal", 64), ("t5", None, None)]:
        folder = save_model(tmp_path / family, family)
        assert language_model_kind(load_config(folder)) == kind
        assert context_limit(load_config(folder), load_tokenizer(folder)) == limit
    detector = PretrainedConfig(architectures=["ElectraForPreTraining"])
    assert language_model_kind(detector) is None, "its head tells replaced tokens apart"
    assert language_model_kind(PretrainedConfig(architectures=["BertForPreTraining"])) == "masked"


def test_weights_hash_follows_the_weights_alone(tmp_path):
    folder = save_model(tmp_path / "a", "bert")
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b" / "README.md").write_text("x")
    assert weights_hash(folder) == weights_hash(tmp_path / "b")
    weights = {name: tensor.clone() for name, tensor in load_file(folder / "model.safetensors").items()}
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, tmp_path / "b" / "model.safetensors", metadata={"format": "pt"})
    assert weights_hash(folder) != weights_hash(tmp_path / "b")
