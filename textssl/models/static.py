"""A static encoder: an embedding table, whose weighted mean over the tokens of a text is the text's vector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import scipy.sparse as sparse
import torch
import torch.nn.functional as F
from pydantic import Field
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedTokenizerBase

from textssl.batch import Texts
from textssl.config import validate_options
from textssl.errors import UserError
from textssl.models.configuration import Predicts
from textssl.models.lsa import lsa_table
from textssl.models.presets import STATIC_PRESETS
from textssl.sections import ModelConfig

TOKENS_A_ROW = 2  # above it the gradient of a table is made token by token
ROWS_AT_ONCE = 1024  # of a table, where it is read several times
IDENTITY_SEED = 0  # the same directions in every run: nothing of the identity is learned or drawn anew


Positive = Annotated[float, Field(gt=0)] | None


@dataclass(frozen=True)
class StaticConfig:
    """The shape of a static encoder and how it starts.

    hidden_size: width of a vector. identity_size: how much of it is an identity block, fixed random directions that
    tell words apart; the rest learns. init: lsa begins with latent semantic analysis of the text to train on, random
    with normal numbers of standard deviation init_std (null: 1/sqrt(width)).
    sif, identity_sif: a token of frequency p starts with the weight a / (a + p) in the mean (Arora et al. 2017, eq. 3),
    and in the identity block keeps it; null: equal weights. Weights of the learned block are learned too.
    """

    hidden_size: Annotated[int, Field(gt=0)] = 512
    identity_size: Annotated[int, Field(ge=0)] = 0
    init: Literal["lsa", "random"] = "lsa"
    init_std: Positive = None
    sif: Positive = 1e-3
    identity_sif: Positive = 3e-3
    model_type: str = "static"

    def __post_init__(self) -> None:
        if not 0 <= self.identity_size < self.hidden_size:
            raise UserError(
                f"model.config.identity_size is {self.identity_size}: it must be below hidden_size {self.hidden_size}"
            )


class StaticTable(nn.Module):
    """Token vectors and their weights. Reads texts without padding and without special tokens.

    frequencies: (vocabulary,) share of each token in the text to be trained on. table: (vocabulary, width of the
    learned block), what that starts from; None: random numbers.
    """

    frequencies: Tensor
    identity: Tensor

    def __init__(self, config: StaticConfig, frequencies: Tensor, table: Tensor | None = None):
        super().__init__()
        self.config = config
        vocabulary, learned = len(frequencies), config.hidden_size - config.identity_size
        self.embedding = nn.EmbeddingBag(vocabulary, learned, mode="sum")
        if table is None:
            nn.init.normal_(self.embedding.weight, std=config.init_std or learned**-0.5)
        else:
            self.embedding.weight.data.copy_(table)
        self.log_weights = nn.Parameter(sif_weights(frequencies, config.sif).log())
        self.register_buffer("frequencies", frequencies.clone())
        directions = torch.randn(
            vocabulary, config.identity_size, generator=torch.Generator().manual_seed(IDENTITY_SEED)
        )
        identity = F.normalize(directions, dim=1) * sif_weights(frequencies, config.identity_sif).unsqueeze(1)
        self.register_buffer("identity", identity * equal_scale(identity, frequencies), persistent=False)

    @property
    def width(self) -> int:
        return self.config.hidden_size

    def trainable_vectors(self, texts: Texts) -> Tensor:
        """The block that learns: the mean of weight times vector over the tokens of each text, (texts, its width)."""
        return bag(self.embedding.weight, texts, self.log_weights.exp())

    def forward(self, texts: Texts) -> Tensor:
        """What the exported table gives, the learned block and the identity on one scale: (texts, width)."""
        vectors = self.trainable_vectors(texts)
        if not self.config.identity_size:
            return vectors
        return torch.cat([vectors * self.learned_scale(), bag(self.identity, texts)], dim=1)

    @torch.no_grad()
    def learned_scale(self) -> Tensor:
        return equal_scale(self.embedding.weight * self.log_weights.exp().unsqueeze(1), self.frequencies)

    @torch.no_grad()
    def folded(self) -> Tensor:
        """The table with weights and scales in it, (vocabulary, width) float32 on the CPU: what is exported."""
        table = self.embedding.weight.detach() * self.log_weights.detach().exp().unsqueeze(1)
        if self.config.identity_size:
            table = torch.cat([table * self.learned_scale(), self.identity], dim=1)
        return table.float().cpu().contiguous()


def bag(table: Tensor, texts: Texts, weights: Tensor | None = None) -> Tensor:
    """The mean over the tokens of each text of table row times weight: (texts, width). weights: (vocabulary,); None: 1.

    With many tokens a row, the gradient of the table is made token by token, as the forward is made text by text: that
    takes a tenth off a step of 1,024 documents.
    """
    if not len(texts):
        return (table[:1] * 0)[:0]
    if texts.tokens > TOKENS_A_ROW * len(table):
        return _Bag.apply(table, weights, texts.ids, texts.lengths)  # type: ignore[no-any-return]
    return weighted_bag(table, weights, texts.ids, texts.lengths)


def weighted_bag(table: Tensor, weights: Tensor | None, ids: Tensor, lengths: Tensor) -> Tensor:
    shares = (1 / lengths.to(table.dtype)).repeat_interleave(lengths, output_size=len(ids))
    shares = shares if weights is None else shares * weights[ids]
    return F.embedding_bag(ids, table, lengths.cumsum(0) - lengths, mode="sum", per_sample_weights=shares)


class _Bag(torch.autograd.Function):
    """`weighted_bag`, whose gradient is a bag too: for each token, of the gradients of the texts that hold it."""

    @staticmethod
    def forward(ctx, table, weights, ids, lengths):
        ctx.save_for_backward(table, weights, ids, lengths)
        return weighted_bag(table, weights, ids, lengths)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        table, weights, ids, lengths = ctx.saved_tensors
        tokens, order = ids.sort(stable=True)
        text = torch.arange(len(lengths), device=ids.device).repeat_interleave(lengths, output_size=len(ids))[order]
        starts = torch.searchsorted(tokens, torch.arange(len(table), device=ids.device))
        shares = (1 / lengths.to(table.dtype))[text]
        of_rows = F.embedding_bag(text, grad.contiguous(), starts, mode="sum", per_sample_weights=shares)
        if weights is None:
            return of_rows, None, None, None
        parts = zip(*(part.split(ROWS_AT_ONCE) for part in (of_rows, table, weights)), strict=True)
        of_weights = []
        for of_part, part, weight in parts:  # each stays in a core's cache
            of_weights.append(torch.linalg.vecdot(of_part, part, dim=1))
            of_part *= weight.unsqueeze(1)
        return of_rows, torch.cat(of_weights), None, None


def sif_weights(frequencies: Tensor, a: float | None) -> Tensor:
    """(vocabulary,) a / (a + p), or ones."""
    return torch.ones_like(frequencies) if a is None else a / (a + frequencies)


def equal_scale(table: Tensor, frequencies: Tensor) -> Tensor:
    """The factor that gives a table's rows a mean square length of 1 over running text: blocks then weigh the same."""
    square = (frequencies / frequencies.sum() * table.square().sum(1)).sum()
    return torch.where(square > 0, square, 1.0).rsqrt()


def token_frequencies(counts: Tensor) -> Tensor:
    """Shares of the tokens, (vocabulary,) float32, with add-one smoothing, so that none is 0."""
    smoothed = counts.double() + 1
    return (smoothed / smoothed.sum()).float()


def is_static_folder(folder: Path) -> bool:
    """Whether a folder holds a sentence encoder without a transformer, which AutoModel cannot load."""
    return (folder / "modules.json").is_file() and not (folder / "config.json").is_file()


def is_static(spec: ModelConfig) -> bool:
    """Whether spec asks for a new static encoder."""
    if spec.config is not None:
        return spec.config.get("model_type") == "static"
    return spec.pretrained is None and spec.preset in STATIC_PRESETS


def begins_with_lsa(spec: ModelConfig) -> bool:
    """Whether spec asks for a new model whose token vectors begin with latent semantic analysis."""
    if is_static(spec):
        return static_config(spec).init == "lsa"
    return spec.pretrained is None and spec.embeddings == "lsa"


def static_config(spec: ModelConfig) -> StaticConfig:
    """The shape that spec asks for a new static encoder. Raises UserError."""
    options = spec.config if spec.config is not None else STATIC_PRESETS[str(spec.preset)]
    return StaticConfig(**validate_options(StaticConfig, dict(options), "model.config"))


def build_static(
    spec: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    stock: SentenceTransformer | None,
    head: Predicts,
    counts: sparse.csr_matrix | None,
    seed: int,
) -> StaticTable | None:
    """The table that spec asks for; None where it asks for a transformer. Raises UserError."""
    if stock is not None and isinstance(stock[0], StaticEmbedding):
        if spec.reinitialise:
            raise UserError("model.reinitialise has no meaning for a static encoder: choose a static preset instead")
        weights: Tensor = stock[0].embedding.weight.detach()  # type: ignore[operator, union-attr]
        table = StaticTable(StaticConfig(hidden_size=weights.shape[1], sif=None), torch.ones(len(weights)), weights)
    elif is_static(spec):
        config = static_config(spec)
        if counts is None:
            counts = sparse.csr_matrix((len(tokenizer), 1), dtype=np.int64)
        start = None
        if config.init == "lsa":
            start = torch.from_numpy(lsa_table(counts, config.hidden_size - config.identity_size, seed))
        table = StaticTable(config, token_frequencies(torch.from_numpy(np.asarray(counts.sum(1)).ravel())), start)
        if spec.dense_width is not None and table.config.identity_size:
            raise UserError(
                "model.dense_width would mix the identity block with what is learned: leave one of them out"
            )
    else:
        return None
    if spec.dropout is not None or spec.attention != "auto":
        raise UserError(
            "a static encoder has neither dropout nor attention: leave model.dropout and model.attention out"
        )
    if spec.embeddings == "random":
        raise UserError("model.embeddings is for transformers: a static encoder has model.config.init=random")
    if head is not None:
        raise UserError(
            "a static encoder predicts no tokens: train it with objectives on sentences alone, such as crops"
        )
    if len(tokenizer) > table.embedding.num_embeddings:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, but {spec.pretrained} has vectors for "
            f"{table.embedding.num_embeddings}: use the tokenizer that the model was trained with"
        )
    return table
