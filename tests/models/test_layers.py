"""Depths of parameters in stock families, and frozen layers."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tests.evaluation.folders import CONFIGS, model
from textssl.errors import UserError
from textssl.models.layers import (
    FusedGate,
    compute_rotary_once,
    freeze_layers,
    fuse_gates,
    layer_depths,
    longest_list,
    narrow_residuals,
    transformer_layers,
)

LAYERS = {  # path of the stack, and what lies below and above it, by a part of the name
    "bert": ("bert.encoder.layer", ["word_embeddings", "position_embeddings", "embeddings.LayerNorm"], ["cls.predict"]),
    "modernbert": ("model.layers", ["tok_embeddings", "embeddings.norm"], ["final_norm", "head.dense"]),
    "llama": ("model.layers", ["embed_tokens"], ["model.norm"]),
    "gpt2": ("transformer.h", ["wte", "wpe"], ["ln_f"]),
}


@pytest.mark.parametrize("family", LAYERS)
def test_depths_rise_from_the_embeddings_to_the_head(family):
    path, below, above = LAYERS[family]
    depths, layers = layer_depths(model(family))
    config = CONFIGS[family]
    assert layers == config.get("num_hidden_layers", config.get("n_layer"))
    assert set(depths) == {name for name, _ in model(family).named_parameters()}
    assert longest_list(model(family)) == (path.split("."), layers)
    for name, depth in depths.items():
        if name.startswith(f"{path}."):
            assert depth == 1 + int(name.removeprefix(f"{path}.").split(".")[0]), name
        else:
            assert depth in (0, layers + 1), name
    for part in below:
        assert {depth for name, depth in depths.items() if part in name} == {0}, part
    for part in above:
        assert {depth for name, depth in depths.items() if part in name} == {layers + 1}, part


def test_a_table_without_layers_has_one_depth():
    table = nn.Sequential(nn.EmbeddingBag(10, 4), nn.Linear(4, 2))
    depths, layers = layer_depths(table)
    assert layers == 0 and set(depths.values()) == {1}
    assert longest_list(table) == ([], 0)


def test_the_layers_are_the_longest_list_and_lists_of_several_classes_are_none():
    both = nn.Module()
    both.small = nn.ModuleList([nn.Linear(2, 2) for _ in range(5)])
    both.large = nn.ModuleList([nn.Linear(9, 9) for _ in range(3)])
    both.mixed = nn.ModuleList([nn.Linear(50, 50), nn.Embedding(50, 50)])
    assert longest_list(both) == (["large"], 3)


@pytest.mark.parametrize("family", LAYERS)
@pytest.mark.parametrize("count", [0, 1, 2])
def test_frozen_are_the_embeddings_and_the_lowest_layers(family, count):
    module = model(family)
    depths, layers = layer_depths(module)
    try:
        freeze_layers(module, count)
        for name, parameter in module.named_parameters():
            assert parameter.requires_grad == (count == 0 or depths[name] > count), name
        learning = Counter(depths[name] for name, parameter in module.named_parameters() if parameter.requires_grad)
        if count:
            assert min(learning) == count + 1 <= layers + 1
    finally:
        module.requires_grad_(True)  # the model is shared with other tests


def test_more_frozen_layers_than_there_are():
    with pytest.raises(UserError, match=r"model\.frozen_layers is 3, but the model has 2 layers"):
        freeze_layers(model("bert"), 3)
    assert all(parameter.requires_grad for parameter in model("bert").parameters())
    with pytest.raises(UserError, match=r"model\.frozen_layers is 1, but the model has 0 layers"):
        freeze_layers(nn.Sequential(nn.EmbeddingBag(10, 4)), 1)


@pytest.mark.parametrize("family", ["bert", "modernbert", "llama"])
def test_layers_hand_on_the_type_of_autocast(family, monkeypatch):
    backbone, seen = model(family).base_model, []
    narrow_residuals(backbone)
    layers = transformer_layers(backbone)
    for layer in layers:
        layer.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].dtype))
    ids = torch.arange(1, 9).view(1, 8)

    def states() -> torch.Tensor:
        seen.clear()
        with torch.no_grad():
            return backbone(input_ids=ids).last_hidden_state.float()

    exact = states()
    assert seen == [torch.float32] * len(layers)
    monkeypatch.setattr("textssl.models.layers.NARROWING", ("cpu",))
    assert torch.equal(states(), exact)
    with torch.autocast("cpu", torch.bfloat16):
        found = states()
    assert seen == [torch.bfloat16] * len(layers)
    assert 0 < float((found - exact).norm() / exact.norm()) < 0.03


@pytest.mark.parametrize(
    ("family", "why", "fused"), [("modernbert", None, True), ("modernbert", "0.1 apart", False), ("bert", "", False)]
)
def test_a_trial_of_the_gates_that_fails_is_told_and_models_without_them_need_none(
    monkeypatch, caplog, family, why, fused
):
    tried = []
    kernels = SimpleNamespace(failed_trial=lambda device: tried.append(device) or why)
    monkeypatch.setitem(sys.modules, "textssl.models.gate_kernel", kernels)
    monkeypatch.delattr("textssl.models.gate_kernel", raising=False)
    monkeypatch.setattr("textssl.models.layers.has_triton", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    module = copy.deepcopy(model(family))
    fuse_gates(module)
    assert any(isinstance(part, FusedGate) for part in module.modules()) == fused
    assert tried == (["cuda"] if family == "modernbert" else [])
    assert ("whose trial gave 0.1 apart" in caplog.text) == (why == "0.1 apart")


def test_rotary_positions_that_are_no_pair_pass_through_a_compiled_forward():
    """DeepSeek-V2 and Llama 4 have complex numbers in the place of cosines and sines."""

    class ComplexRotaryEmbedding(nn.Module):
        def forward(self, positions: torch.Tensor) -> torch.Tensor:
            return torch.polar(torch.ones_like(positions), positions)

    module = nn.Sequential(ComplexRotaryEmbedding())
    expected = module(torch.arange(3.0))
    compute_rotary_once(module)
    module.compile(backend="eager")
    found = module(torch.arange(3.0))
    assert isinstance(found, torch.Tensor) and torch.equal(found, expected)
