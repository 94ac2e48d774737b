"""A model folder as a language model: texts -> log-probabilities, for tasks that do not use vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PreTrainedModel, PreTrainedTokenizerBase

from textssl.inference.language.diffusion import diffusion_bound, is_diffusion
from textssl.inference.language.likelihood import Likelihood, causal_likelihood, pseudo_likelihood
from textssl.inference.loading import (
    default_device,
    find_model,
    is_sentence_model,
    language_model_kind,
    load_config,
    load_tokenizer,
    load_weights,
)
from textssl.models.build import quiet

VECTORS, LANGUAGE_MODEL = "vectors", "language model"  # what a task reads
AUTO_CLASSES: dict[str, Any] = {"causal": AutoModelForCausalLM, "masked": AutoModelForMaskedLM}


class Scorer:
    """Says how probable texts are.

    kind: "causal" or "masked". load: gives the model and its tokenizer, when they are first needed. diffusion: whether
    a masked model was trained at every masking rate, so that it bounds the code length of a text. measure: what
    `code_length` gives: "causal", the "bound" of a diffusion model, or "masked" for another masked model.
    """

    def __init__(
        self,
        kind: str,
        load: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]],
        diffusion: bool = False,
    ) -> None:
        self.kind, self.load = kind, load
        self.measure = "bound" if diffusion else kind

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return self.load()

    @property
    def model(self) -> PreTrainedModel:
        return self._loaded[0]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._loaded[1]

    def likelihood(self, texts: Sequence[str], *, hide_rest: bool = False, progress: str | None = None) -> Likelihood:
        """The log-probability of each text by a causal model, or the pseudo-log-likelihood by a masked one.

        hide_rest: as in `pseudo_likelihood`; a causal model has no use for it.
        """
        if self.kind == "causal":
            return causal_likelihood(self.model, self.tokenizer, texts, progress=progress)
        return pseudo_likelihood(self.model, self.tokenizer, texts, hide_rest=hide_rest, progress=progress)

    def code_length(self, texts: Sequence[str], *, progress: str | None = None) -> Likelihood:
        """How well the model predicts running text: `likelihood`, or for a diffusion model the bound on it."""
        if self.measure == "bound":
            return diffusion_bound(self.model, self.tokenizer, texts, progress=progress)
        return self.likelihood(texts, progress=progress)


def live_scorer(kind: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Scorer:
    """The scorer of a model in memory, such as one in training: it always uses the current weights."""
    return Scorer(kind, lambda: (model, tokenizer), is_diffusion(model.config))


def folder_scorer(model: str | Path, *, device: torch.device | None = None) -> Scorer | None:
    """The scorer of a model folder (or run folder, `sample:NAME`, hub name); None without a causal or masked head.

    The weights are read when the scorer is first used. Raises UserError where there is no model.
    """
    folder = find_model(model)
    kind = _kind(folder)
    if kind is None:
        return None
    return Scorer(
        kind,
        lambda: (load_weights(folder, AUTO_CLASSES[kind], device), load_tokenizer(folder)),
        is_diffusion(load_config(folder)),
    )


def random_scorer(model: str | Path, *, seed: int, device: torch.device | None = None) -> Scorer | None:
    """The same with fresh random weights: an untrained baseline."""
    folder = find_model(model)
    kind = _kind(folder)
    if kind is None:
        return None

    def load() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(seed)
            weights = AUTO_CLASSES[kind].from_config(load_config(folder), dtype=torch.float32)
        return weights.to(device or default_device()).eval(), load_tokenizer(folder)

    return Scorer(kind, load, is_diffusion(load_config(folder)))


def _kind(folder: Path) -> str | None:
    kind = None if is_sentence_model(folder) else language_model_kind(load_config(folder))
    return kind if kind in AUTO_CLASSES else None
