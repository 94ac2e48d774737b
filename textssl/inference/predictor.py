"""A fine-tuned folder as a function: texts (or pairs of texts) -> probabilities of its classes, or scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from textssl.data.batches.labelled_examples import ExampleReader
from textssl.errors import UserError
from textssl.inference.cpu_threads import pack_linears
from textssl.inference.encoders import load_encoder
from textssl.inference.features import Encoder, Tokenized, evaluation_mode, padded
from textssl.inference.loading import (
    context_limit,
    find_model,
    load_config,
    load_tokenizer,
    load_weights,
)
from textssl.models.configuration import PRETEXT
from textssl.models.linear_head import LABELS, LinearHead, softmax
from textssl.models.static import is_static_folder
from textssl.tokenizer.vocabulary import padding_id

DEFAULT_MAX_TOKENS = 512
Item = str | tuple[str, str]  # a text, or a pair of texts


class Predictor(Protocol):
    """labels: names of the classes; empty where the model gives scores. max_tokens: where texts are cut, or None.
    truncated: how many of those answered so far were cut."""

    labels: list[str]
    max_tokens: int | None
    truncated: int

    def stream(self, windows: Iterable[Sequence[Any]]) -> Iterator[np.ndarray]:
        """(items, classes) probabilities or (items,) scores of each window; the next is read meanwhile."""
        ...


class Logits(Encoder):
    """Texts or pairs -> (items, labels) logits of a stock sequence classifier, in batches of similar length."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase):
        super().__init__(unit_length=False)
        self.model, self.tokenizer = model, tokenizer
        self.width = int(model.config.num_labels or 0)
        self.limit = context_limit(model.config, tokenizer) or DEFAULT_MAX_TOKENS
        self.max_tokens = self.limit
        if model.config.pad_token_id is None:  # by which decoders find the last token of a text
            model.config.pad_token_id = padding_id(tokenizer)
        self.pad_id: Any = model.config.pad_token_id
        self.reader = ExampleReader(tokenizer, self.limit)
        self.takes_types = "token_type_ids" in tokenizer.model_input_names
        self.left = tokenizer.padding_side == "left"

    @property
    def device(self) -> torch.device:
        return self.model.device

    def running(self):
        return evaluation_mode(self.model)

    def tokenize(self, texts: Sequence[Any]) -> Tokenized:
        pairs = bool(texts) and not isinstance(texts[0], str)
        sides = zip(*texts, strict=True) if pairs else [texts]
        rows, cut = self.reader.read(*sides)
        return Tokenized(rows, np.array([len(ids) for ids, _ in rows], np.int64), cut)

    def forward(self, items: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        ids, mask = padded([ids for ids, _ in items], self.pad_id, left=self.left)
        arguments = {"input_ids": ids, "attention_mask": mask}
        if self.takes_types:
            arguments["token_type_ids"], _ = padded([types for _, types in items], 0, left=self.left)
        with torch.inference_mode():
            moved = {name: value.to(self.device) for name, value in arguments.items()}
            return self.model(**moved).logits.float().cpu().numpy()


class Classifier:
    """A stock AutoModelForSequenceClassification folder that gives a single label or score. Raises UserError."""

    def __init__(self, folder: Path):
        weights = load_weights(folder, AutoModelForSequenceClassification)
        pack_linears(weights)
        config = weights.config
        several = "gives several scores for a text" if config.problem_type == "regression" else None
        if config.problem_type == "multi_label_classification":
            several = "was trained to give a text several labels at once (multi_label_classification)"
        if several and (config.num_labels or 0) > 1:
            raise UserError(f"{folder} {several}; `textssl predict` gives one label, or one score")
        self.scores = config.problem_type == "regression" or config.num_labels == 1
        names: Any = config.id2label
        self.labels = [] if self.scores else [str(names[number]) for number in range(int(config.num_labels or 0))]
        self.logits = Logits(weights, load_tokenizer(folder))
        self.max_tokens: int | None = self.logits.limit
        self.truncated = 0
        noted: Any = getattr(config, PRETEXT, None)
        self.texts = noted.get("texts") if isinstance(noted, dict) else None  # of an example; None: not known

    def stream(self, windows: Iterable[Sequence[Any]]) -> Iterator[np.ndarray]:
        for logits, reading in self.logits.embed_windows(checked(windows, self.texts)):
            self.truncated += reading.truncated
            yield logits[:, 0].astype(np.float64) if self.scores else softmax(logits)


class HeadedEncoder:
    """A sentence encoder with a LinearHead beside it, as contrastive tuning with few labels leaves it."""

    def __init__(self, folder: Path):
        self.head = LinearHead.load(folder)
        self.labels = self.head.labels
        self.encoder = load_encoder(folder, max_tokens=None, normalize=None)
        self.max_tokens = self.encoder.max_tokens
        self.truncated = 0

    def stream(self, windows: Iterable[Sequence[Any]]) -> Iterator[np.ndarray]:
        for vectors, reading in self.encoder.embed_windows(checked(windows, 1)):
            self.truncated += reading.truncated
            yield softmax(self.head.logits(vectors))


def checked(windows: Iterable[Sequence[Any]], texts: int | None) -> Iterator[Sequence[Any]]:
    """The windows. Raises UserError where their items are not what a model learned: 1 text, or 2; None: any."""
    for window in windows:
        given = 1 if window and isinstance(window[0], str) else 2
        if window and texts not in (None, given):
            raise UserError(
                "this model classifies single texts, and the input holds pairs (text_a, text_b)"
                if texts == 1
                else "this model answers pairs of texts (text_a, text_b), and the input holds single ones"
            )
        yield window


def load_predictor(model: str | Path) -> Predictor:
    """The predictor of a folder that `textssl finetune` left, or of any sequence classifier. Raises UserError."""
    folder = find_model(model)
    if (folder / LABELS).is_file():
        return HeadedEncoder(folder)
    wanted = "give a folder that `textssl finetune` left"
    if is_static_folder(folder):
        raise UserError(f"{folder} is a sentence encoder without a classifier: {wanted}")
    architecture = (load_config(folder).architectures or [""])[0]
    if not architecture.endswith("ForSequenceClassification"):
        raise UserError(f"{folder} holds a {architecture or 'model'}, which gives no labels: {wanted}")
    return Classifier(folder)


def answer_fields(answer: Any, labels: list[str]) -> dict[str, Any]:
    """A prediction as `predict` writes it: the label with the probabilities of all labels, or the score."""
    if not labels:
        return {"score": float(answer)}
    probabilities = {name: round(float(value), 6) for name, value in zip(labels, answer, strict=True)}
    return {"label": labels[int(answer.argmax())], "probabilities": probabilities}
