"""Small models with weights large enough that a leak between documents shows, and packed rows to feed them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from textssl.batch import Rows
from textssl.models.build import build_model
from textssl.sample_types import IGNORE
from textssl.sections import ModelConfig

VOCABULARY = 48
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

SMALL = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 3, "intermediate_size": 48}
DECODER = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
CONFIGS = {
    "modernbert": {**SMALL, "local_attention": 6, "global_attn_every_n_layers": 2},
    "bert": SMALL,
    "llama": DECODER | {"tie_word_embeddings": True},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 3},
    "albert": {**SMALL, "embedding_size": 16},
    "camembert": SMALL,
    "distilbert": {"dim": 32, "n_heads": 4, "n_layers": 3, "hidden_dim": 48},
    "electra": {**SMALL, "embedding_size": 16},
    "gemma": DECODER,
    "gpt_neox": SMALL,
    "mistral": DECODER | {"sliding_window": 4},
    "modernbert-decoder": {**SMALL, "local_attention": 6, "global_attn_every_n_layers": 2},
    "olmo2": SMALL | {"num_key_value_heads": 2},
    "phi3": SMALL | {"num_key_value_heads": 2, "sliding_window": 4},
    "qwen2": SMALL | {"num_key_value_heads": 2},
    "qwen3": DECODER
    | {
        "use_sliding_window": True,
        "sliding_window": 4,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "roberta": SMALL,
    "smollm3": SMALL | {"num_key_value_heads": 2},
    "starcoder2": SMALL | {"num_key_value_heads": 2, "sliding_window": 4},
    "xlm-roberta": SMALL,
}
MASKED = ("albert", "bert", "camembert", "distilbert", "electra", "modernbert", "roberta", "xlm-roberta")
FOUR = ("modernbert", "bert", "llama", "gpt2")


def word_tokenizer() -> PreTrainedTokenizerFast:
    """48 tokens: the five special ones and w5 to w47."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *(f"w{i}" for i in range(5, VOCABULARY))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict(zip(names, SPECIAL, strict=True)),
        bos_token="[CLS]",
        eos_token="[SEP]",
    )


def small_model(name: str, attention: str = "sdpa", std: float = 0.3, **overrides: Any):
    """A model of three layers in evaluation mode, its matrices drawn with a large standard deviation."""
    config = {"model_type": name, **CONFIGS[name], **overrides}
    spec = ModelConfig.model_validate({"config": config, "attention": attention, "dropout": 0.0})
    model = build_model(spec, word_tokenizer(), causal=name not in MASKED, sequence_length=32, seed=0).eval()
    spread(model, std)
    return model


def spread(model: torch.nn.Module, std: float) -> None:
    """Draw matrices with this standard deviation, and move vectors from where they begin."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            else:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


def make_rows(layouts: list[list[int]], length: int, seed: int = 0) -> Rows:
    """Rows whose documents have these numbers of tokens; what is left of a row is padding."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((len(layouts), length), np.int64)
    documents = np.zeros((len(layouts), length), np.int32)
    positions = np.zeros((len(layouts), length), np.int64)
    for row, sizes in enumerate(layouts):
        start = 0
        for number, size in enumerate(sizes, start=1):
            ids[row, start : start + size] = rng.integers(5, VOCABULARY, size)
            documents[row, start : start + size] = number
            positions[row, start : start + size] = np.arange(size)
            start += size
    labels = np.where(documents > 0, rng.integers(5, VOCABULARY, documents.shape), IGNORE)
    ids, documents, positions, labels = (torch.from_numpy(array) for array in (ids, documents, positions, labels))
    return Rows(ids, documents, positions, labels, torch.arange(len(layouts)))


def alone(model, ids: torch.Tensor) -> torch.Tensor:
    """Last hidden states (tokens, width) of one document, straight from the stock backbone."""
    with torch.no_grad():
        return model.base_model(input_ids=ids[None]).last_hidden_state[0]
