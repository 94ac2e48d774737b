"""A model from a preset, from any transformers configuration, or from a folder."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from textssl.config import nearest
from textssl.errors import UserError
from textssl.models.attention import MASKING
from textssl.models.presets import PRESETS

if TYPE_CHECKING:
    from textssl.config import ModelConfig

log = logging.getLogger(__name__)

LEARNED_POSITIONS = (  # families with a table of positions, which cannot grow after training
    *("albert", "bert", "camembert", "distilbert", "electra", "gpt2", "roberta", "xlm-roberta"),
    *("deberta-v2", "gpt_neo", "mpnet", "opt"),
)
DROPOUTS = (  # of the body; those of classifiers on top are left alone
    *("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "dropout", "embd_pdrop"),
    *("embedding_dropout", "hidden_dropout", "hidden_dropout_prob", "mlp_dropout", "resid_pdrop"),
)
OLDER_FIELDS = {"global_attn_every_n_layers", "global_rope_theta", "local_rope_theta", "rope_scaling", "rope_theta"}
SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


def build_model(
    spec: ModelConfig, tokenizer: PreTrainedTokenizerBase, *, causal: bool, sequence_length: int, seed: int
) -> PreTrainedModel:
    """A language model with float32 weights on the CPU; the same seed gives the same weights.

    spec: one of preset, config (a dictionary with model_type) and pretrained (a folder).
    causal: True for a model of the next token, False for a masked one.
    sequence_length: tokens in a row, which the positions of the model must hold.
    Raises UserError, naming the key, for unknown names and fields, a model of the wrong kind, positions or embeddings
    that are too few, and folders that are missing or incomplete. The global random generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.pretrained is not None:
            return load_pretrained(spec, tokenizer, causal, sequence_length)
        if spec.config is not None:
            config = checked_config(spec.config, "model.config")
            given = set(spec.config)
        else:
            config, given = preset_config(str(spec.preset)), set()
        check_kind(config, causal)
        fit_tokenizer(config, tokenizer, given)
        fit_positions(config, sequence_length, "max_position_embeddings" in given)
        set_dropout(config, spec.dropout)
        factory = AutoModelForCausalLM if causal else AutoModelForMaskedLM
        return with_attention(
            spec.attention,
            lambda name: factory.from_config(
                config, attn_implementation=name, dtype=torch.float32, trust_remote_code=False
            ),
        )


def preset_config(name: str) -> PreTrainedConfig:
    if name not in PRESETS:
        raise UserError(f"unknown model.preset {name!r}{nearest(name, list(PRESETS))}")
    return checked_config(PRESETS[name], "model.preset")


def checked_config(fields: dict[str, Any], key: str) -> PreTrainedConfig:
    """The transformers configuration of these fields; UserError for a field that its class does not know."""
    fields = dict(fields)
    model_type = fields.pop("model_type", None)
    if model_type is None:
        raise UserError(f"{key}.model_type is missing; for example bert, modernbert, llama or gpt2")
    if model_type not in CONFIG_MAPPING:
        close = nearest(str(model_type), list(CONFIG_MAPPING))
        close = close if "did you mean" in close else f"; for example {', '.join(sorted(MASKING))}"
        raise UserError(f"unknown {key}.model_type {model_type!r}{close}")
    known = CONFIG_MAPPING[model_type]
    valid = [field.name for field in dataclasses.fields(known)]
    valid += [*known.attribute_map, *OLDER_FIELDS]
    for field in fields:
        if field not in valid:
            raise UserError(f"unknown {key}.{field} for model_type {model_type}{nearest(field, valid, key)}")
    try:
        return AutoConfig.for_model(model_type, **fields)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key} is not valid for model_type {model_type}: {' '.join(str(error).split())}") from None


def check_kind(config: PreTrainedConfig, causal: bool) -> None:
    """The family must predict what the objective asks for: the next token, or masked ones."""
    decoder = bool(getattr(config, "is_decoder", False))
    masked_family = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    causal_family = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if causal and not (causal_family and (decoder or not masked_family)):
        raise UserError(
            f"model_type {config.model_type} reads both sides of a token, but this objective predicts the next token: "
            "choose a causal model such as model.preset=llama-nano or gpt2-nano"
        )
    if not causal and (not masked_family or decoder):
        raise UserError(
            f"model_type {config.model_type} has no masked language model, which this objective needs: "
            "choose an encoder such as model.preset=modernbert-nano or bert-nano"
        )


def fit_tokenizer(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase, given: set[str]) -> None:
    """Vocabulary size and special ids from the tokenizer, in place; what the user gave must agree with it."""
    vocabulary = len(tokenizer)
    if "vocab_size" in given and config.vocab_size < vocabulary:
        raise UserError(
            f"model.config.vocab_size is {config.vocab_size}, but the tokenizer has {vocabulary} tokens: "
            "leave it out, or make it at least as large"
        )
    if "vocab_size" not in given:
        config.vocab_size = vocabulary
    for name in SPECIAL_IDS:
        number = getattr(tokenizer, name, None)
        if name in given and getattr(config, name) != number:
            raise UserError(
                f"model.config.{name} is {getattr(config, name)}, but the tokenizer has {number}: leave it out"
            )
        if hasattr(config, name):
            setattr(config, name, number)


def position_capacity(config: PreTrainedConfig) -> int | None:
    """How many tokens the model has positions for; None where the configuration sets no limit."""
    capacity = getattr(config, "max_position_embeddings", None)
    masking = MASKING.get(config.model_type)
    if capacity is not None and masking is not None and masking.offset:
        capacity -= config.pad_token_id + 1
    return capacity


def fit_positions(config: PreTrainedConfig, sequence_length: int, fixed: bool) -> None:
    """Room for sequence_length tokens, in place; UserError where the number of positions is fixed and too small."""
    capacity = position_capacity(config)
    if capacity is None or capacity >= sequence_length:
        return
    if fixed:
        raise UserError(
            f"the model has positions for {capacity} tokens, but data.sequence_length is {sequence_length}: "
            "shorten the rows, or choose a model with more positions (max_position_embeddings)"
        )
    config.max_position_embeddings += sequence_length - capacity


def set_dropout(config: PreTrainedConfig, dropout: float | None) -> None:
    """One rate for every dropout of the body, in place; None keeps the configuration's own."""
    if dropout is None:
        return
    for name in DROPOUTS:
        if hasattr(config, name):
            setattr(config, name, dropout)


def with_attention(attention: str, build) -> PreTrainedModel:
    """build(name of the attention implementation) -> model; "auto" is sdpa, or eager for families without it."""
    try:
        return build("sdpa" if attention == "auto" else attention)
    except (ImportError, ValueError) as error:
        if attention == "auto" and "scaled_dot_product_attention" in str(error):
            return build("eager")
        raise UserError(f"model.attention={attention} cannot be used: {' '.join(str(error).split())}") from None


def load_pretrained(
    spec: ModelConfig, tokenizer: PreTrainedTokenizerBase, causal: bool, sequence_length: int
) -> PreTrainedModel:
    """A model from a folder, with every weight of its backbone found there."""
    folder = Path(str(spec.pretrained))
    if not (folder / "config.json").is_file():
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        raise UserError(f"model.pretrained={spec.pretrained} {what}: give the folder of a saved transformers model")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'} cannot be read: {' '.join(str(error).split())}") from None
    check_kind(config, causal)
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, but {folder} has embeddings for {config.vocab_size}: "
            "use the tokenizer that the model was trained with"
        )
    fit_tokenizer(config, tokenizer, {"vocab_size"})
    fit_positions(config, sequence_length, config.model_type in LEARNED_POSITIONS)
    set_dropout(config, spec.dropout)
    factory = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    found: dict[str, Any] = {}

    def load(name: str) -> PreTrainedModel:
        model, report = factory.from_pretrained(  # type: ignore[misc]
            folder,
            config=config,
            attn_implementation=name,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        found.update(report)
        return model

    try:
        model = with_attention(spec.attention, load)
    except (OSError, RuntimeError) as error:
        raise UserError(f"the weights in {folder} cannot be loaded: {' '.join(str(error).split())}") from None
    check_loaded(folder, model, found)
    model.config.name_or_path = ""  # a result must not carry the paths of the machine that made it
    return model.train()


def check_loaded(folder: Path, model: PreTrainedModel, report: dict[str, Any]) -> None:
    """UserError for backbone weights that the checkpoint lacks; a missing head starts fresh, and is said."""
    missing = sorted(report.get("missing_keys", ()))
    prefix = f"{model.base_model_prefix}."
    absent = [name for name in missing if name.startswith(prefix)] + sorted(map(str, report.get("mismatched_keys", ())))
    if absent:
        raise UserError(
            f"the checkpoint in {folder} does not fit its config.json: {len(absent)} weights of the backbone are "
            f"missing or have another shape, {', '.join(absent[:3])}{' ...' if len(absent) > 3 else ''}"
        )
    if missing:
        log.warning("%s has no language model head: %s start from random weights", folder, ", ".join(missing))


def count_parameters(model: torch.nn.Module) -> int:
    """Parameters, each tied tensor counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def describe(model: PreTrainedModel) -> dict[str, Any]:
    """What a model is, for logs and summaries: family, shape, parameters in all and outside the embeddings."""
    config, total = model.config, count_parameters(model)
    return {
        "model_type": config.model_type,
        "layers": config.num_hidden_layers,
        "width": config.hidden_size,
        "vocabulary": config.vocab_size,
        "positions": position_capacity(config),
        "attention": config._attn_implementation,
        "parameters": total,
        "body_parameters": total - sum(p.numel() for p in model.get_input_embeddings().parameters()),
    }
