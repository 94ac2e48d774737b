"""Stock sequence classifiers: labelled texts in, logits out; what is trained is what transformers loads."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from textssl.batch import Examples
from textssl.models.build import build_model, checkpoint_activations, quiet
from textssl.models.configuration import PRETEXT
from textssl.models.layers import compile_layers, freeze_layers
from textssl.models.score_layer import ScoreHead, score_head, unit_for
from textssl.sample_types import LabelFacts, ScoreUnit
from textssl.sections import ModelConfig
from textssl.system.files import written_folder
from textssl.tokenizer.vocabulary import padding_id


class TextClassifier(nn.Module):
    """An AutoModelForSequenceClassification that reads ragged batches.

    pad: id of the padding, which is masked. takes_types: whether the tokenizer gives token types, so that the model
    gets them in training as it does in transformers' pipeline. max_tokens: where texts are cut. unit: what the scores
    of a regressor are in.
    """

    def __init__(self, model: PreTrainedModel, *, pad: int, takes_types: bool, max_tokens: int):
        super().__init__()
        self.model = model
        self.pad, self.takes_types, self.max_tokens = pad, takes_types, max_tokens
        self.unit = ScoreUnit()
        self.score: ScoreHead | None = None

    def learn_scores(self, score: ScoreHead, unit: ScoreUnit, *, goes_on: bool) -> None:
        """Learn scores in `unit`. goes_on: the head gives raw scores, and is rescaled; else its bias is set to 0."""
        self.unit, self.score = unit, score
        if goes_on:
            score.rescale(1 / unit.deviation, -unit.mean / unit.deviation)
        elif score.layer.bias is not None:
            nn.init.zeros_(score.layer.bias)
        # So that a checkpoint says in which unit its scores are: one with raw scores no longer fits.
        self.register_buffer("score_unit", torch.tensor([unit.mean, unit.deviation], dtype=torch.float64))

    def forward(self, batch: Examples) -> Tensor:
        """(texts, classes) logits, or (texts, 1) scores in `unit`. No texts still give every parameter a gradient of
        zero."""
        if not len(batch):
            return self(one_token(batch))[:0]
        arguments: dict[str, Any] = {"input_ids": batch.padded(self.pad), "attention_mask": batch.mask.long()}
        if self.takes_types:
            arguments["token_type_ids"] = batch.padded(0, batch.types)
        if self.model.can_generate() or hasattr(self.model.config, "use_cache"):
            arguments["use_cache"] = False
        return self.model(**arguments).logits

    def note_texts(self, texts: int) -> None:
        """Say in config.json how many texts an example has, 1 or 2, so that `predict` answers no others."""
        before = getattr(self.model.config, PRETEXT, None)
        setattr(self.model.config, PRETEXT, {**(before if isinstance(before, dict) else {}), "texts": texts})

    def output_layers(self) -> list[nn.Linear]:
        """The layer that gives logits or scores."""
        layer = output_layer(self.model, len(self.model.config.id2label or {}))
        return [] if layer is None else [layer]

    def checkpoint_gradients(self) -> None:
        checkpoint_activations(self.model)

    def compile(self, **options: Any) -> None:
        compile_layers(self.model.base_model, **options)

    @contextmanager
    def as_exported(self) -> Iterator[None]:
        """Within the block the model is what `export` writes: its scores are raw, and it computes in float32.

        Afterwards every weight has the bits that it had.
        """
        unit, attention = self.unit, self.model.config._attn_implementation
        folded = self.score.parameters if self.score is not None and unit != ScoreUnit() else []
        before = [parameter.detach().clone() for parameter in folded]
        half_only = attention is not None and "flash" in attention  # kernels for half precision
        if half_only:
            self.model.set_attn_implementation("sdpa")
        try:
            if self.score is not None and folded:
                self.score.rescale(unit.deviation, unit.mean)
                self.unit = ScoreUnit()
            yield
        finally:
            self.unit = unit
            with torch.no_grad():
                for parameter, value in zip(folded, before, strict=True):
                    parameter.copy_(value)
            if attention is not None and half_only:
                self.model.set_attn_implementation(attention)

    def export(self, path: str | Path, tokenizer: PreTrainedTokenizerBase) -> Path:
        """Write a stock folder, whole or not at all, whose scores are raw.

        Its tokenizer cuts (model_max_length) and pads as training did.
        """
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.model_max_length = self.max_tokens
        tokenizer.padding_side = "right"  # on the left, learned positions would be others than in training
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        with self.as_exported(), written_folder(path) as aside, quiet():
            self.model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
        return Path(path)


def one_token(batch: Examples) -> Examples:
    """A text of one token, for a batch that has none."""
    one = torch.ones(1, dtype=torch.int64, device=batch.ids.device)
    return Examples(one * 0, one, one * 0, one.double(), one * 0)


def build_classifier(
    spec: ModelConfig, tokenizer: PreTrainedTokenizerBase, facts: LabelFacts, *, sequence_length: int, seed: int
) -> TextClassifier:
    """A classifier (or, where facts have no classes, a regressor) on a preset, a configuration or a folder.

    The folder may hold a language model, a bare backbone, a sentence encoder or another classifier; weights of its
    backbone must all be there. The output layer starts anew, except that of a classifier with the same classes, or of a
    regressor where scores are wanted: these are kept, a regressor's in the unit of the new scores. ModernBERT pools the
    mean of the tokens rather than the first token, which no pretraining here has trained. Raises UserError.
    """
    pad = padding_id(tokenizer)
    classified = same_answers = False

    def adapt(config: Any) -> None:
        nonlocal classified, same_answers
        names = facts.classes or ("score",)
        classified = (config.architectures or [""])[0].endswith("ForSequenceClassification")
        before = {int(number): name for number, name in config.id2label.items()}
        same_answers = classified and (before == dict(enumerate(names)) if facts.classes else len(before) == 1)
        config.id2label = dict(enumerate(names))
        config.label2id = {name: number for number, name in enumerate(names)}
        config.problem_type = "single_label_classification" if facts.classes else "regression"
        if config.pad_token_id is None:
            config.pad_token_id = pad
        if hasattr(config, "classifier_pooling") and not classified:
            config.classifier_pooling = "mean"

    model = build_model(
        *(spec, tokenizer),
        causal=None,
        sequence_length=sequence_length,
        seed=seed,
        factory=AutoModelForSequenceClassification,
        adapt=adapt,
    )
    freeze_layers(model, spec.frozen_layers)
    last, loaded = output_layer(model, len(facts.classes) or 1), spec.pretrained is not None and not spec.reinitialise
    if last is not None and loaded and classified and not same_answers:
        start_anew(last, getattr(model.config, "initializer_range", 0.02), seed)
    takes_types = "token_type_ids" in tokenizer.model_input_names
    made = TextClassifier(model, pad=pad, takes_types=takes_types, max_tokens=sequence_length)
    if not facts.classes:
        score = score_head(model, last)
        unit = unit_for(score, facts, model.config.model_type)
        made.learn_scores(score, unit, goes_on=loaded and same_answers)
    return made


def output_layer(model: nn.Module, outputs: int) -> nn.Linear | None:
    """The linear layer that gives logits or scores: the last one with so many outputs; None where there is none."""
    linear = (layer for layer in reversed(list(model.modules())) if isinstance(layer, nn.Linear))
    return next((layer for layer in linear if layer.out_features == outputs), None)


def start_anew(layer: nn.Linear, std: float, seed: int) -> None:
    """Normal random weights and a bias of 0, in place: what another classifier had learned says nothing here."""
    nn.init.normal_(layer.weight, std=std, generator=torch.Generator().manual_seed(seed))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
