"""A model folder -> its encoder, with the weights it has or with random ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from textssl.errors import UserError
from textssl.inference.cpu_threads import pack_linears
from textssl.inference.features import DEFAULT_MAX_TOKENS, Encoder, TransformerEncoder
from textssl.inference.loading import (
    default_device,
    find_model,
    first_line,
    is_sentence_model,
    load_config,
    load_tokenizer,
    load_weights,
)
from textssl.models.build import BROKEN_FOLDER, quiet

if TYPE_CHECKING:
    from textssl.inference.sentence_encoder import SentenceEncoder


def load_encoder(
    model: str | Path,
    *,
    max_tokens: int | None = DEFAULT_MAX_TOKENS,
    device: torch.device | None = None,
    normalize: bool | None = True,
    prompt: str | None = None,
) -> Encoder:
    """The encoder of a model folder (or run folder, `sample:NAME`, hub name).

    max_tokens: where longer texts are cut, at most what the model takes; None: there. normalize: vectors of length 1
    or, with False, as they are before any normalizing; None: as the folder's modules say. prompt: for
    sentence-transformers folders, the name of one of its prompts or the text itself. Raises UserError.
    """
    folder = find_model(model)
    if is_sentence_model(folder):
        return _sentence_encoder(
            load_sentence_model(folder, device), max_tokens=max_tokens, normalize=normalize, prompt=prompt
        )
    if prompt is not None:
        raise UserError(f"--prompt is for sentence-transformers models, which {folder} is not: leave it out")
    weights = load_weights(folder, AutoModel, device)
    pack_linears(weights)
    return TransformerEncoder(weights, load_tokenizer(folder), max_tokens=max_tokens, unit_length=bool(normalize))


def random_encoder(
    model: str | Path, *, seed: int, max_tokens: int = DEFAULT_MAX_TOKENS, device: torch.device | None = None
) -> Encoder:
    """The same architecture and tokenizer with fresh random weights: what the architecture knows untrained."""
    folder = find_model(model)
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        if is_sentence_model(folder):
            sentence_model = load_sentence_model(folder, device)
            reinitialise(sentence_model)
            return _sentence_encoder(sentence_model, max_tokens=max_tokens)
        weights: Any = AutoModel.from_config(load_config(folder), dtype=torch.float32)
    weights = weights.to(device or default_device()).eval()
    pack_linears(weights)
    return TransformerEncoder(weights, load_tokenizer(folder), max_tokens=max_tokens)


def _sentence_encoder(
    model: Any, *, max_tokens: int | None, normalize: bool | None = True, prompt: str | None = None
) -> SentenceEncoder:
    from textssl.inference.sentence_encoder import drop_normalize, sentence_encoder

    if normalize is False:
        drop_normalize(model)
    pack_linears(model)
    return sentence_encoder(model, max_tokens=max_tokens, unit_length=bool(normalize), prompt=prompt)


def load_sentence_model(folder: Path, device: torch.device | None = None) -> Any:
    """A SentenceTransformer from a folder, float32, without running code from it. Raises UserError."""
    from sentence_transformers import SentenceTransformer  # a second to import, needed for such folders only

    try:
        with quiet():
            return SentenceTransformer(
                str(folder),
                device=str(device or default_device()),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": torch.float32},
            ).eval()
    except BROKEN_FOLDER as error:
        raise UserError(f"{folder} could not be loaded by sentence-transformers: {first_line(error)}") from error


def reinitialise(sentence_model: nn.Module) -> None:
    """Fresh random weights in every module of a SentenceTransformer, in place."""
    for module in sentence_model.children():
        inner = getattr(module, "auto_model", None)
        if isinstance(inner, PreTrainedModel):
            fresh = AutoModel.from_config(inner.config, dtype=torch.float32)
            inner.load_state_dict(fresh.state_dict())
            continue
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
