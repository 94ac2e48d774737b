"""A narrow masked language model that shares the token embeddings of a wider one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig

from textssl.batch import Rows
from textssl.losses.cross_entropy import chunk_tokens, draw_tokens, linear_cross_entropy
from textssl.models.denoising.frequencies import from_frequencies
from textssl.models.heads import LanguageModel

EVEN = 8  # the width of a head is a multiple of it


def narrowed(config: PreTrainedConfig, scale: float) -> PreTrainedConfig:
    """The same family with about `scale` times the width, the heads and the feed-forward; as many layers."""
    narrow: Any = copy.deepcopy(config)
    narrow.num_attention_heads = max(1, round(config.num_attention_heads * scale))
    head = max(1, round(config.hidden_size * scale / narrow.num_attention_heads / EVEN)) * EVEN
    narrow.hidden_size = head * narrow.num_attention_heads
    for name in ("intermediate_size", "hidden_dim"):
        if isinstance(getattr(config, name, None), int):
            setattr(narrow, name, max(EVEN, round(getattr(config, name) * scale / EVEN) * EVEN))
    if hasattr(config, "embedding_size"):
        narrow.embedding_size = narrow.hidden_size
    return narrow


class Projected(nn.Module):
    """Rows of an embedding table of another model, made as narrow as this one."""

    def __init__(self, table: nn.Module, width: int):
        super().__init__()
        self.table = (table,)  # in a tuple: its weight belongs to the other model
        self.down = nn.Linear(table.weight.shape[1], width, bias=False)  # type: ignore[union-attr, arg-type]

    @property
    def weight(self) -> Tensor:
        return self.table[0].weight  # type: ignore[return-value]

    def forward(self, ids: Tensor) -> Tensor:
        return self.down(F.embedding(ids, self.weight))


class Generator(nn.Module):
    """A masked language model of `scale` times the width of another, on its token embeddings (arXiv:2003.10555, 3.2).

    wide: the model that it is to fool; both its embeddings and its output layer are that one's table. The output goes
    back to the table's width as in ELECTRA: layer, GELU, norm. frequencies: as in `from_frequencies`.
    """

    def __init__(self, wide: LanguageModel, scale: float, frequencies: np.ndarray | None = None):
        super().__init__()
        config = narrowed(wide.backbone.config, scale)  # type: ignore[arg-type]
        model = AutoModel.from_config(config, attn_implementation=config._attn_implementation, dtype=torch.float32)
        if getattr(model, "pooler", None) is not None:
            model.pooler = None
        self.embeddings = Projected(wide.model.get_input_embeddings(), config.hidden_size)
        model.set_input_embeddings(self.embeddings)
        self.language_model = LanguageModel(model)
        width = self.embeddings.weight.shape[1]
        self.up = nn.Sequential(nn.Linear(config.hidden_size, width), nn.GELU(), nn.LayerNorm(width))
        self.bias = nn.Parameter(torch.zeros(len(self.embeddings.weight)))
        from_frequencies(self.bias, frequencies)

    def forward(self, batch: Rows) -> Tensor:
        """Hidden states, (rows, length, width of the generator), documents isolated."""
        return self.language_model(batch)

    def cross_entropy(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Sum over tokens in nats. hidden: (tokens, width of the generator); labels: (tokens,) int64."""
        return linear_cross_entropy(self.up(hidden), self.embeddings.weight, self.bias, labels)

    @torch.no_grad()
    def sample(self, hidden: Tensor, uniform: Tensor) -> Tensor:
        """A token for each hidden state, drawn with its number in (0, 1]: (tokens,) int64."""
        step = chunk_tokens(len(hidden), len(self.bias), device=hidden.device.type)
        drawn = [
            draw_tokens(F.linear(self.up(part), self.embeddings.weight, self.bias), numbers)
            for part, numbers in zip(hidden.split(step), uniform.split(step), strict=True)
        ]
        return torch.cat(drawn) if drawn else uniform.long()
