"""A model folder -> its encoder, with the folder's weights or with random ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel

from textssl.errors import UserError
from textssl.inference.cpu_threads import pack_linears
from textssl.inference.exported import load_exported
from textssl.inference.features import DEFAULT_MAX_TOKENS, Encoder, TransformerEncoder
from textssl.inference.loading import (
    default_device,
    exported_file,
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
    compute: str = "float32",
) -> Encoder:
    """The encoder of a model folder (or run folder, `sample:NAME`, hub name).

    max_tokens: where longer texts are cut, at most what the model takes; None: at that. normalize: vectors of length 1
    or, with False, as they are before any normalizing; None: as the folder's modules say. prompt: for
    sentence-transformers folders, the name of one of their prompts or the text itself. compute: the format of the
    transformer's weights and activations, float32 or bfloat16; pooling and what follows is always in float32. Raises
    UserError where the folder cannot be loaded, or does not take such a prompt or format.
    """
    folder, dtype = find_model(model), {"float32": torch.float32, "bfloat16": torch.bfloat16}[compute]
    if file := exported_file(folder):
        return _sentence_encoder(
            load_exported(folder, file, compute), max_tokens=max_tokens, normalize=normalize, prompt=prompt
        )
    if is_sentence_model(folder):
        encoder = _sentence_encoder(
            load_sentence_model(folder, device, dtype), max_tokens=max_tokens, normalize=normalize, prompt=prompt
        )
        if dtype != torch.float32 and not encoder.narrows:
            raise UserError(f"{folder} is a static encoder, which computes in float32 alone: leave bfloat16 out")
        return encoder
    if prompt is not None:
        raise UserError(f"--prompt is for sentence-transformers models, which {folder} is not: leave it out")
    weights = load_weights(folder, AutoModel, device, dtype)
    pack_linears(weights)
    return TransformerEncoder(weights, load_tokenizer(folder), max_tokens=max_tokens, unit_length=bool(normalize))


def random_encoder(
    model: str | Path, *, seed: int, max_tokens: int = DEFAULT_MAX_TOKENS, device: torch.device | None = None
) -> Encoder:
    """The same architecture and tokenizer with fresh random weights: an untrained baseline. Raises UserError."""
    folder = find_model(model)
    if file := exported_file(folder):
        raise UserError(f"{file} has the weights that it was exported with: its random baseline is that of its source")
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


def load_sentence_model(folder: Path, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> Any:
    """A SentenceTransformer from a folder, without running code from it. Raises UserError.

    dtype: of its transformer; the modules after it are in float32.
    """
    from sentence_transformers import SentenceTransformer  # takes a second to import, needed for such folders only

    try:
        with quiet():
            model = SentenceTransformer(
                str(folder),
                device=str(device or default_device()),
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": dtype},
            ).eval()
    except BROKEN_FOLDER as error:
        raise UserError(f"{folder} could not be loaded by sentence-transformers: {first_line(error)}") from error
    if dtype != torch.float32:
        for module in list(model)[1:]:
            module.float()
        model[0].register_forward_hook(_widen)
    return model


def _widen(module: nn.Module, inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    """The output of a transformer module, in float32 (a forward hook)."""
    floating = {name: value for name, value in features.items() if torch.is_tensor(value) and value.is_floating_point()}
    return {**features, **{name: value.float() for name, value in floating.items()}}


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
