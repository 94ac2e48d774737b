"""A static encoder: an embedding table, whose mean over the tokens of a text is the text's vector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textssl.batch import Texts


@dataclass(frozen=True)
class StaticConfig:
    """The shape of a static encoder and how it starts.

    hidden_size: width of a vector. init_std: standard deviation of the table's first numbers; a larger one keeps more
    of each word's identity, since training moves the rows less in proportion. token_weights: learn a factor for each
    token, so that the mean is a weighted one; it is folded into the table on export.
    """

    hidden_size: int = 512
    init_std: float = 0.1
    token_weights: bool = True
    model_type: str = "static"


class StaticTable(nn.Module):
    """Token vectors and their weights. Reads texts without padding and without special tokens."""

    token_weights: nn.Parameter | None

    def __init__(self, vocabulary: int, config: StaticConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.EmbeddingBag(vocabulary, config.hidden_size, mode="sum")
        nn.init.normal_(self.embedding.weight, std=config.init_std)
        self.token_weights = nn.Parameter(torch.ones(vocabulary)) if config.token_weights else None

    @property
    def width(self) -> int:
        return self.embedding.embedding_dim

    def forward(self, texts: Texts) -> Tensor:
        """The mean of weight times vector over the tokens of each text: (texts, width)."""
        if not len(texts):
            return self.embedding.weight[:1].sum(0, keepdim=True)[:0]
        offsets = texts.lengths.cumsum(0) - texts.lengths
        share = (1 / texts.lengths.to(self.embedding.weight.dtype)).repeat_interleave(texts.lengths)
        if self.token_weights is not None:
            share = share * F.embedding(texts.ids, self.token_weights.unsqueeze(1)).squeeze(1)
        return self.embedding(texts.ids, offsets, per_sample_weights=share)

    @torch.no_grad()
    def folded(self) -> Tensor:
        """The table with the weights in it, (vocabulary, width) float32 on the CPU: what is exported."""
        table = self.embedding.weight.detach()
        if self.token_weights is not None:
            table = table * self.token_weights.unsqueeze(1)
        return table.float().cpu().contiguous()
