"""A decoder that writes a text from one vector, on the token embeddings of an encoder."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textssl.losses.cross_entropy import linear_cross_entropy
from textssl.models.denoising.frequencies import from_frequencies

HEAD_WIDTH = 64


class SentenceDecoder(nn.Module):
    """Predicts each token of a text from those before it and from one vector, all that it sees of the encoder.

    The decoder of arXiv:2104.06979 (section 3.1): in every layer cross-attention looks at the vector alone. table: the
    encoder's token embeddings (vocabulary, width), which are its input and its output layer and stay the encoder's.
    vector_width: of the vectors. length: tokens of the longest text.
    frequencies: as in `from_frequencies`.
    """

    def __init__(
        self, table: nn.Module, vector_width: int, layers: int, length: int, frequencies: np.ndarray | None = None
    ):
        super().__init__()
        self.table = (table,)  # in a tuple: it is not registered a second time
        vocabulary, width = self.weight.shape
        heads = next(count for count in range(max(1, width // HEAD_WIDTH), 0, -1) if width % count == 0)
        layer = nn.TransformerDecoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerDecoder(layer, layers, nn.LayerNorm(width))
        for parameter in self.body.parameters():
            if parameter.ndim > 1:  # the layers are copies of one: each gets numbers of its own
                nn.init.xavier_uniform_(parameter)
        self.read = nn.Sequential(nn.Linear(vector_width, width), nn.LayerNorm(width))  # as large as a state
        self.start = nn.Parameter(torch.zeros(width))
        self.positions = nn.Embedding(length, width)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        from_frequencies(self.bias, frequencies)

    @property
    def weight(self) -> Tensor:
        return self.table[0].weight  # type: ignore[return-value]

    def forward(self, vectors: Tensor, ids: Tensor) -> Tensor:
        """States (texts, length, width), of which state i predicts token i from tokens 0 to i - 1.

        vectors: (texts, vector width). ids: (texts, length) int64, padded at the end.
        """
        texts, length = ids.shape
        before = F.embedding(ids[:, : length - 1], self.weight)
        states = torch.cat([self.start.expand(texts, 1, -1), before], dim=1) + self.positions.weight[:length]
        ahead = torch.ones(length, length, dtype=torch.bool, device=ids.device).triu(1)
        return self.body(states, self.read(vectors).unsqueeze(1), tgt_mask=ahead, tgt_is_causal=True)

    def cross_entropy(self, states: Tensor, labels: Tensor) -> Tensor:
        """Sum over tokens in nats. states: (tokens, width). labels: (tokens,) int64."""
        return linear_cross_entropy(states, self.weight, self.bias, labels)
