"""Model folders to evaluate, made in a second, and two topics that any features tell apart."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

from tests.tiny import MODELS, tiny_tokenizer
from textssl import tokenizer
from textssl.models.build import quiet

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    **MODELS,
    "bert": {"model_type": "bert", **SIZES, "max_position_embeddings": 64},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64},
    "t5": {"model_type": "t5", "d_model": 32, "d_ff": 48, "d_kv": 16, "num_layers": 2, "num_heads": 2},
}
FACTORIES = {"modernbert": AutoModelForMaskedLM, "bert": AutoModelForMaskedLM, "t5": AutoModel}


@functools.cache
def model(family: str):
    """A tiny model with a language-model head (t5: none) and random weights, in evaluation mode."""
    words = tiny_tokenizer()
    special: dict[str, Any] = {
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
    }
    config = AutoConfig.for_model(**CONFIGS[family], **special, vocab_size=len(words))
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(1)
        return FACTORIES.get(family, AutoModelForCausalLM).from_config(config).eval()


def save_model(folder: Path, family: str) -> Path:
    """A stock folder of that model with its tokenizer."""
    words = tiny_tokenizer()
    with quiet():
        model(family).save_pretrained(folder)
    tokenizer.save(tokenizer.for_causal(words) if family in ("llama", "gpt2") else words, folder)
    return folder


WORDS = {
    "sea": ["wave", "boat", "fish", "harbour", "sail", "storm", "island", "tide"],
    "kitchen": ["bread", "oven", "pan", "salt", "butter", "recipe", "knife", "soup"],
    "music": ["violin", "chord", "song", "drum", "concert", "melody", "choir", "piano"],
}


def topics(count: int, seed: int = 0, noise: float = 0.5) -> tuple[list[str], list[str]]:
    """`count` different texts of 8 words, and their topic; a share of the words is from any topic."""
    rng = np.random.default_rng(seed)
    everything = [word for words in WORDS.values() for word in words]
    texts, labels = [], []
    for number in range(count):
        label = list(WORDS)[number % len(WORDS)]
        words = [rng.choice(everything if rng.random() < noise else WORDS[label]) for _ in range(8)]
        texts.append(f"{number} " + " ".join(words))
        labels.append(label)
    return texts, labels


def blobs(count: int, classes: int, width: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around random centres, (count, width) float32, and their class numbers."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    labels = np.arange(count) % classes
    rows = centres[labels] + spread * rng.normal(size=(count, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels
