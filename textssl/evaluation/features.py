"""Texts -> vectors with any model folder: the one thing that most evaluations see of a model."""

from __future__ import annotations

import copy
import inspect
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textssl.errors import UserError
from textssl.evaluation.loading import context_limit

DEFAULT_MAX_TOKENS = 512
BATCH_TOKENS = 8_192  # padded tokens of one forward pass
SLICE_TEXTS = 16_384  # tokenized and sorted at a time, so that memory stays bounded


@dataclass
class Reading:
    """What an encoder has read: texts, texts longer than it can take, tokens after the cut."""

    texts: int = 0
    truncated: int = 0
    tokens: int = 0

    @property
    def truncated_share(self) -> float:
        return self.truncated / max(self.texts, 1)


class Encoder(ABC):
    """Texts -> vectors of length 1, in batches of similar length.

    width: size of a vector. max_tokens: longer texts are cut there (None: never). reading: what was read so far.
    """

    width: int
    max_tokens: int | None

    def __init__(self) -> None:
        self.reading = Reading()

    def fit(self, texts: Sequence[str]) -> None:  # noqa: B027 (empty on purpose)
        """Nothing: a model has learned what it knows (TF-IDF in its place learns its words here)."""

    def take_reading(self) -> Reading:
        """What was read since the last call."""
        reading, self.reading = self.reading, Reading()
        return reading

    def embed(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        """(texts, width) float32, in the order given, each row of length 1; a text without tokens is a row of zeros.

        progress: words beside a progress bar on the terminal; None shows none.
        Raises UserError where the model gives something other than finite numbers.
        """
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        with Progress(console=Console(stderr=True), transient=True, disable=no_bar(progress)) as bar:
            task = bar.add_task(progress or "", total=len(texts))
            for start in range(0, len(texts), SLICE_TEXTS):
                items, lengths, truncated = self.tokenize(texts[start : start + SLICE_TEXTS])
                self.reading.texts += len(items)
                self.reading.truncated += truncated
                self.reading.tokens += int(lengths.sum())
                for places in batches_by_length(lengths):
                    vectors[start + places] = self.forward([items[place] for place in places])
                    bar.advance(task, len(places))
        if not np.isfinite(vectors).all():
            raise UserError("the model gives features that are not finite numbers: its weights are broken")
        return vectors

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> tuple[Sequence[Any], np.ndarray, int]:
        """What `forward` takes for each text, tokens of each text after the cut, number of texts that were cut."""

    @abstractmethod
    def forward(self, items: Sequence[Any]) -> np.ndarray:
        """(items, width) float32 unit vectors of one batch."""


def no_bar(progress: str | None) -> bool:
    """Whether there is nobody to see a progress bar."""
    return progress is None or not sys.stderr.isatty()


def batches_by_length(lengths: np.ndarray, batch_tokens: int = BATCH_TOKENS) -> Iterator[np.ndarray]:
    """Places of texts of similar length, longest first, at most `batch_tokens` padded tokens a batch.

    lengths: (texts,) tokens. Texts without tokens are in no batch; a text longer than a batch is one alone.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[: np.count_nonzero(lengths)]
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


class TransformerEncoder(Encoder):
    """Mean over the tokens of a transformers backbone, special tokens included, as sentence-transformers pools.

    Bidirectional models, decoders and the encoder half of encoder-decoders. A live model may be given (during
    training): it is switched to evaluation mode for the pass and back, and no random state is touched.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, max_tokens: int = DEFAULT_MAX_TOKENS
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = copy.deepcopy(
            tokenizer
        )  # cutting leaves a setting in a fast tokenizer, which others may share
        self.backbone: Any = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
        self.width = model.config.hidden_size
        self.max_tokens = min(max_tokens, context_limit(model.config, tokenizer) or max_tokens)
        # padding is masked, so any id serves where the tokenizer names none (many decoders)
        self.pad_id: Any = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        takes_cache = "use_cache" in inspect.signature(self.backbone.forward).parameters
        self.options = {"use_cache": False} if takes_cache else {}

    def tokenize(self, texts: Sequence[str]) -> tuple[Sequence[list[int]], np.ndarray, int]:
        return token_ids(self.tokenizer, texts, self.max_tokens)

    def forward(self, items: Sequence[list[int]]) -> np.ndarray:
        length = max(map(len, items))
        ids = torch.full((len(items), length), self.pad_id)
        mask = torch.zeros((len(items), length), dtype=torch.long)
        for row, item in enumerate(items):
            ids[row, : len(item)] = torch.tensor(item)
            mask[row, : len(item)] = 1
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        with torch.inference_mode(), evaluation_mode(self.model):
            hidden = self.backbone(input_ids=ids, attention_mask=mask, **self.options).last_hidden_state
            return mean_pool(hidden, mask).cpu().numpy()


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of hidden (rows, length, width) where mask (rows, length) is 1: (rows, width) unit vectors, float32."""
    weight = mask.unsqueeze(-1).float()
    mean = (hidden.float() * weight).sum(1) / weight.sum(1).clamp(min=1)
    return F.normalize(mean, dim=-1)


class SentenceEncoder(Encoder):
    """A sentence-transformers model as it is (its own pooling and prompts), made unit length."""

    def __init__(self, model: Any, *, max_tokens: int = DEFAULT_MAX_TOKENS) -> None:
        super().__init__()
        self.model = model
        self.width = model.get_embedding_dimension()
        self.max_tokens = None  # static embeddings read everything
        limit = getattr(model[0], "max_seq_length", None)
        if limit is not None and math.isfinite(limit):
            self.max_tokens = min(max_tokens, int(limit))
            model.max_seq_length = self.max_tokens

    def tokenize(self, texts: Sequence[str]) -> tuple[Sequence[str], np.ndarray, int]:
        tokenizer = self.model.tokenizer
        if isinstance(tokenizer, PreTrainedTokenizerBase):
            _, lengths, truncated = token_ids(tokenizer, texts, self.max_tokens)
            return texts, lengths, truncated
        encodings = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)  # static embeddings
        return texts, np.array([len(encoding.ids) for encoding in encodings], dtype=np.int64), 0

    def forward(self, items: Sequence[str]) -> np.ndarray:
        vectors = self.model.encode(
            list(items), batch_size=len(items), normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int | None
) -> tuple[list[list[int]], np.ndarray, int]:
    """Ids of each text cut at max_tokens (special tokens included in the count), their numbers, how many were cut."""
    if not texts:
        return [], np.zeros(0, dtype=np.int64), 0
    encoded = tokenizer(list(texts), truncation=max_tokens is not None, max_length=max_tokens, verbose=False)
    ids = encoded["input_ids"]
    if encoded.encodings is not None:  # fast tokenizers tell what they cut
        truncated = sum(bool(encoding.overflowing) for encoding in encoded.encodings)
    else:
        truncated = sum(len(row) == max_tokens for row in ids) if max_tokens else 0
    lengths = np.array([len(row) for row in ids], dtype=np.int64)
    return ids, lengths, truncated


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Dropout off inside, the former mode back afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
