"""The stock decoder that has the weights of a stock encoder."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from transformers import ModernBertDecoderConfig, ModernBertDecoderForCausalLM, ModernBertForMaskedLM

from textssl.models.configuration import read_pretext, write_pretext

FAMILY = "modernbert"
OF_THE_FOLDER = {"architectures", "dtype", "transformers_version"}  # what saving writes anew


def causal_twin(model: ModernBertForMaskedLM) -> ModernBertDecoderForCausalLM:
    """A ModernBertDecoderForCausalLM with the weights of a ModernBertForMaskedLM, on the CPU in float32.

    It gives the logits that the encoder has with causal attention, in sliding layers at distances below
    config.sliding_window.
    """
    known = {field.name for field in dataclasses.fields(ModernBertDecoderConfig)} - OF_THE_FOLDER
    config = ModernBertDecoderConfig(**{key: value for key, value in model.config.to_dict().items() if key in known})
    with torch.random.fork_rng(devices=[]):
        twin = ModernBertDecoderForCausalLM(config).float()
    found: dict[str, Tensor] = {}
    for name, weight in model.state_dict().items():
        found |= renamed(name, weight)
    twin.load_state_dict(found)
    twin.tie_weights()
    write_pretext(twin.config, read_pretext(model.config))
    return twin.eval()


def renamed(name: str, weight: Tensor) -> dict[str, Tensor]:
    """A weight of the encoder under the decoder's names: Wqkv is split in three, `head.` is `lm_head.`."""
    if ".attn.Wqkv." in name:
        parts = zip("qkv", weight.chunk(3), strict=True)
        return {name.replace("Wqkv", f"{letter}_proj"): part for letter, part in parts}
    return {f"lm_{name}" if name.startswith("head.") else name: weight}
