"""Folders of sentence-transformers as encoders: their own modules, but each text is tokenized only once if possible."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding
from transformers import PreTrainedTokenizerBase

from textssl.data.batches.id_readers import Rows
from textssl.data.batches.token_reader import TokenReader
from textssl.errors import UserError, excerpt
from textssl.inference.exported import ExportedTransformer
from textssl.inference.features import DEFAULT_MAX_TOKENS, Encoder, Tokenized, padded
from textssl.tokenizer.vocabulary import padding_id

STATIC_BATCH_TEXTS = 256  # a lookup and a mean: batches only have to outweigh their overhead


def sentence_encoder(
    model: Any, *, max_tokens: int | None = DEFAULT_MAX_TOKENS, unit_length: bool = True, prompt: str | None = None
) -> SentenceEncoder:
    """The encoder of a SentenceTransformer by the fastest way that its modules allow.

    unit_length: False leaves what the modules give. prompt: a name among the model's prompts, or the text to put
    before each text; None: the model's default prompt, as in `SentenceTransformer.encode`. Raises UserError.
    """
    text = prompt_text(model, prompt)
    if not isinstance(text, str):
        raise UserError(f"config_sentence_transformers.json has a prompt that is no text: {excerpt(text)}")
    kind = SentenceEncoder
    if isinstance(model[0], StaticEmbedding):
        kind = StaticEncoder
    elif isinstance(model[0], ExportedTransformer):
        kind = ExportedEncoder
        if text and splits_prompt(model):
            raise UserError(
                "the model's pooling leaves out the tokens of a prompt, which is not possible with an exported "
                "transformer: give --prompt ''"
            )
    elif reads_plain_text(model) and not (text and splits_prompt(model)):
        kind = PaddedEncoder
    return kind(model, max_tokens=max_tokens, unit_length=unit_length, prompt=text)


def prompt_text(model: Any, prompt: str | None) -> str:
    """The text to put before each text. Raises UserError for a single word that names no prompt."""
    if prompt is None:
        return model.prompts.get(model.default_prompt_name) or ""
    if prompt in model.prompts:
        return model.prompts[prompt]
    if prompt.isidentifier():
        names = ", ".join(name for name, text in model.prompts.items() if text) or "none"
        raise UserError(
            f"the model has no prompt {prompt}; it has {names}; a prompt as text ends with a space or a sign"
        )
    return prompt


def reads_plain_text(model: Any) -> bool:
    """Whether token ids and a mask are all that the model's first module takes from its tokenizer."""
    first = model[0]
    return bool(
        type(first) is Transformer
        and first.transformer_task == "feature-extraction"
        and isinstance(first.processor, PreTrainedTokenizerBase)
        and first.processor.is_fast
        and first.modality_config.get("text", {}).get("method") == "forward"
        and "message" not in first.modality_config
        and not first.processing_kwargs
        and not first.can_flatten_inputs
        and not any(first.processor("a").get("token_type_ids", ()))
    )


def splits_prompt(model: Any) -> bool:
    """Whether pooling leaves out the tokens of a prompt."""
    return any(isinstance(module, Pooling) and not module.include_prompt for module in model)


def drop_normalize(model: Any) -> None:
    """Remove the modules at the end that normalize vectors, in place."""
    while isinstance(model[-1], Normalize):
        del model[-1]


class SentenceEncoder(Encoder):
    """Any sentence-transformers model through its own `encode`, for those that read more than token ids."""

    parallel = False  # the tokenizer of the model is not thread-safe

    def __init__(
        self,
        model: Any,
        *,
        max_tokens: int | None = DEFAULT_MAX_TOKENS,
        unit_length: bool = True,
        prompt: str = "",
    ) -> None:
        super().__init__(unit_length=unit_length)
        self.model, self.prompt = model, prompt
        self.width = model.get_embedding_dimension()
        self.max_tokens = None  # static embeddings read everything
        limit = getattr(model[0], "max_seq_length", None)
        if limit is not None and math.isfinite(limit):
            self.max_tokens = min(max_tokens or int(limit), int(limit))
            model.max_seq_length = self.max_tokens

    @property
    def device(self) -> torch.device:
        return self.model.device

    @cached_property
    def reader(self) -> TokenReader | None:
        """A reader with its own copy of the tokenizer, as the next texts are read while the model is at work."""
        tokenizer = copy.deepcopy(self.model.tokenizer)
        return TokenReader(tokenizer, self.max_tokens) if isinstance(tokenizer, PreTrainedTokenizerBase) else None

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        if self.reader is not None:
            _, lengths, truncated = self.reader.read([self.prompt + text for text in texts])
            return Tokenized(texts, lengths, truncated)
        return Tokenized(texts, np.array([1 + len(text) // 4 for text in texts], dtype=np.int64), 0)

    def forward(self, items: Sequence[str]) -> np.ndarray:
        # without a prompt it would put the model's default one before the texts
        vectors = self.model.encode(list(items), batch_size=len(items), prompt=self.prompt, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def pooled(self, features: dict[str, Any]) -> np.ndarray:
        """(texts, width) vectors that the modules make of features, cut to the model's truncate_dim."""
        with torch.inference_mode():
            vectors = self.model(features)["sentence_embedding"]
            return vectors[:, : self.model.truncate_dim].float().cpu().numpy()


class PaddedEncoder(SentenceEncoder):
    """A stock Transformer module and what follows it: texts are tokenized once and batched by length in tokens."""

    parallel = True

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(model, **options)
        self.tokenizer: PreTrainedTokenizerBase = model.tokenizer
        self.pad_id = padding_id(self.tokenizer)
        self.takes_types = "token_type_ids" in self.tokenizer.model_input_names

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        assert self.reader is not None
        return Tokenized(*self.reader.read([self.prompt + text for text in texts] if self.prompt else texts))

    def forward(self, items: Sequence[np.ndarray]) -> np.ndarray:
        ids, mask = padded(items, self.pad_id, left=self.tokenizer.padding_side == "left")
        features = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
        if self.takes_types:
            features["token_type_ids"] = torch.zeros_like(features["input_ids"])
        return self.pooled({**features, "modality": "text"})


class ExportedEncoder(PaddedEncoder):
    """A graph exported to ONNX or OpenVINO, and the modules of PyTorch behind it."""

    def __init__(self, model: Any, **options: Any) -> None:
        super().__init__(model, **options)
        self.narrows = model[0].session.narrows


class StaticEncoder(SentenceEncoder):
    """A table of token vectors: texts are concatenated in the order given, without padding."""

    parallel = False  # a lookup, bound by memory
    narrows = False  # table rows are only read and added up
    slice_texts = STATIC_BATCH_TEXTS  # nothing to sort: small slices let the lookup overlap with tokenizing

    @cached_property
    def reader(self) -> TokenReader:
        return TokenReader(self.model.tokenizer, special_tokens=False)

    def tokenize(self, texts: Sequence[str]) -> Tokenized:
        return Tokenized(*self.reader.read([self.prompt + text for text in texts] if self.prompt else texts))

    def batches(self, lengths: np.ndarray) -> Iterator[np.ndarray]:
        places = np.arange(len(lengths))  # texts without tokens too: later modules may have a bias
        return iter(np.split(places, range(STATIC_BATCH_TEXTS, len(places), STATIC_BATCH_TEXTS)))

    def taken(self, items: Rows, places: np.ndarray) -> Rows:
        return items[int(places[0]) : int(places[-1]) + 1]

    def forward(self, items: Rows) -> np.ndarray:
        ids = torch.from_numpy(items.flat).to(self.device)
        return self.pooled({"input_ids": ids, "offsets": torch.from_numpy(items.bounds[:-1]).to(self.device)})
