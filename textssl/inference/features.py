"""Texts -> vectors with any model folder: all that most evaluations see of a model."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textssl.data.batches.token_reader import TokenReader
from textssl.errors import UserError
from textssl.inference.cpu_threads import Lanes
from textssl.inference.loading import context_limit
from textssl.system.progress import working
from textssl.tokenizer.vocabulary import padding_id

DEFAULT_MAX_TOKENS = 512
BATCH_TOKENS = {"cpu": 1_024, "gpu": 16_384}  # padded tokens of one forward pass; on a CPU what fits its cache
SLICE_TEXTS = 16_384  # tokenized and sorted by length at a time, so that memory stays bounded


@dataclass
class Reading:
    """What an encoder has read: texts, how many of them were truncated, and tokens after truncation."""

    texts: int = 0
    truncated: int = 0
    tokens: int = 0

    @property
    def truncated_share(self) -> float:
        return self.truncated / max(self.texts, 1)

    def add(self, other: Reading) -> None:
        self.texts += other.texts
        self.truncated += other.truncated
        self.tokens += other.tokens


class Tokenized(NamedTuple):
    """Texts ready for `forward`: an item a text, lengths (texts,) in tokens after truncation, number of texts cut."""

    items: Sequence[Any]
    lengths: np.ndarray
    truncated: int


class Encoder(ABC):
    """Texts -> vectors, in batches of similar length.

    width: size of a vector. max_tokens: longer texts are cut there (None: never). unit_length: whether vectors are
    normalized to length 1, or left as the model gives them. reading: what was read so far.
    """

    width: int
    max_tokens: int | None
    device: torch.device
    batch_tokens: int | None = None  # None: BATCH_TOKENS of the device
    slice_texts: int = SLICE_TEXTS
    parallel: bool = True  # whether several threads may call `forward` at once
    narrows: bool = True  # whether it may compute in bfloat16

    def __init__(self, *, unit_length: bool = True) -> None:
        self.unit_length = unit_length
        self.reading = Reading()

    def fit(self, texts: Sequence[str], labels: np.ndarray | None = None) -> None:  # noqa: B027 (empty on purpose)
        """Does nothing, as a model is pretrained (TF-IDF in its place learns its vocabulary here)."""

    def take_reading(self) -> Reading:
        """What was read since the last call."""
        reading, self.reading = self.reading, Reading()
        return reading

    def embed(self, texts: Sequence[str], *, progress: str | None = None) -> np.ndarray:
        """(texts, width) float32, in the order given; a text without tokens is a row of zeros.

        progress: the name of this work on its progress bar; None draws no bar. Raises UserError where the model gives
        numbers that are not finite.
        """
        vectors = np.zeros((len(texts), self.width), dtype=np.float32)
        starts = range(0, len(texts), self.slice_texts)
        with working(progress or "reading texts", len(texts), "texts", bar=progress is not None) as work:
            slices = (texts[start : start + self.slice_texts] for start in starts)
            embedded = self.embed_windows(slices, on_batch=work.advance)
            for start, (window, _) in zip(starts, embedded, strict=True):
                vectors[start : start + len(window)] = window
        return vectors

    def embed_windows(
        self, windows: Iterable[Sequence[str]], *, on_batch: Callable[[int], None] | None = None
    ) -> Iterator[tuple[np.ndarray, Reading]]:
        """`embed` for a stream: for each window of texts (texts, width) float32, and what was read of it.

        The next window is read and tokenized while this one is computed. on_batch: called with the number of texts of
        each finished batch; an exception that it raises ends the work.
        """
        count = torch.get_num_threads() if self.device.type == "cpu" and self.parallel else 1
        with self.running(), Lanes(count) as lanes, ThreadPoolExecutor(1) as ahead:
            stream = iter(windows)
            coming = ahead.submit(self._tokenize_next, stream)
            while (tokenized := coming.result()) is not None:
                coming = ahead.submit(self._tokenize_next, stream)
                reading = Reading(len(tokenized.items), tokenized.truncated, int(tokenized.lengths.sum()))
                self.reading.add(reading)
                yield self._embed_window(tokenized, lanes, on_batch), reading

    def _tokenize_next(self, windows: Iterator[Sequence[str]]) -> Tokenized | None:
        window = next(windows, None)
        return None if window is None else self.tokenize(window)

    def _embed_window(self, tokenized: Tokenized, lanes: Lanes, on_batch: Callable[[int], None] | None) -> np.ndarray:
        vectors = np.zeros((len(tokenized.items), self.width), dtype=np.float32)

        def compute(places: np.ndarray) -> np.ndarray:
            return self.forward(self.taken(tokenized.items, places))

        for places, values in lanes.map(compute, self.batches(tokenized.lengths)):
            vectors[places] = unit_rows(values) if self.unit_length else values
            if on_batch is not None:
                on_batch(len(places))
        if not np.isfinite(vectors).all():
            raise UserError("the model gives features that are not finite numbers: its weights are broken")
        return vectors

    def batches(self, lengths: np.ndarray) -> Iterator[np.ndarray]:
        """Indices of the texts of each forward pass. lengths: (texts,) tokens."""
        kind = "cpu" if self.device.type == "cpu" else "gpu"
        return batches_by_length(lengths, self.batch_tokens or BATCH_TOKENS[kind])

    def taken(self, items: Sequence[Any], places: np.ndarray) -> Sequence[Any]:
        """The items of a batch."""
        return [items[place] for place in places.tolist()]

    def running(self) -> AbstractContextManager[object]:
        """A context that is entered around all forward passes of a stream."""
        return nullcontext()

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        """Texts in the form that `forward` takes; called in another thread than `forward`."""

    @abstractmethod
    def forward(self, items: Sequence[Any]) -> np.ndarray:
        """(items, width) float32 vectors of one batch, not normalized yet."""


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """(rows, width) vectors normalized to length 1; rows of zeros stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def batches_by_length(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Indices of texts of similar length, longest first, at most `batch_tokens` padded tokens a batch.

    lengths: (texts,) tokens. A batch that is half full ends where shorter texts begin, so that most have no padding and
    need no mask. Texts without tokens are in no batch; a text longer than a batch is one by itself.
    """
    order = np.argsort(-lengths, kind="stable")
    order = order[: np.count_nonzero(lengths)]
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        places = order[start : start + max(1, batch_tokens // longest)]
        same = int(np.count_nonzero(lengths[places] == longest))
        if 2 * same * longest >= batch_tokens:
            places = places[:same]
        yield places
        start += len(places)


class TransformerEncoder(Encoder):
    """Mean over the tokens of a transformers backbone, special tokens included, as sentence-transformers pools.

    For bidirectional models, decoders and the encoder half of encoder-decoders. The model may be one in training: it is
    switched to evaluation mode for the pass and back, and no random state is touched.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_tokens: int | None = DEFAULT_MAX_TOKENS,
        unit_length: bool = True,
    ) -> None:
        super().__init__(unit_length=unit_length)
        self.model = model
        tokenizer = copy.deepcopy(tokenizer)  # truncation changes a setting of a fast tokenizer, which others may share
        self.backbone: Any = model.get_encoder() if model.config.is_encoder_decoder else model.base_model
        self.width = model.config.hidden_size
        limit = context_limit(model.config, tokenizer) or max_tokens or DEFAULT_MAX_TOKENS
        self.max_tokens = min(max_tokens or limit, limit)
        self.reader = TokenReader(tokenizer, self.max_tokens)
        self.pad_id = padding_id(tokenizer)
        takes_cache = "use_cache" in inspect.signature(self.backbone.forward).parameters
        self.options = {"use_cache": False} if takes_cache else {}

    @property
    def device(self) -> torch.device:
        return self.model.device

    def running(self) -> AbstractContextManager[object]:
        return evaluation_mode(self.model)

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        return Tokenized(*self.reader.read(texts))

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        ids, mask = padded(items, self.pad_id)
        ids, mask = ids.to(self.model.device), mask.to(self.model.device)
        with torch.inference_mode():
            hidden = self.backbone(input_ids=ids, attention_mask=mask, **self.options).last_hidden_state
            return mean_pool(hidden, mask).cpu().numpy()


def padded(rows: Sequence[np.ndarray], pad_id: int, left: bool = False) -> tuple[Tensor, Tensor]:
    """(rows, longest) int64 ids and mask, 1 at tokens, from the ids of each text. left: pads at the beginning."""
    length = max(map(len, rows))
    ids = np.full((len(rows), length), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for place, row in enumerate(rows):
        span = slice(length - len(row), length) if left else slice(0, len(row))
        ids[place, span] = row
        mask[place, span] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of hidden (rows, length, width) where mask (rows, length) is 1: (rows, width), float32."""
    weight = mask.unsqueeze(-1).float()
    return (hidden.float() * weight).sum(1) / weight.sum(1).clamp(min=1)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) within the block; the former mode is restored afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
