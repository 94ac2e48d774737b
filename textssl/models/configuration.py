"""A transformers configuration from a preset or from the user's fields, fitted to tokenizer and rows."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
    AutoConfig,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
)

from textssl.errors import UserError, excerpt
from textssl.explanations import nearest
from textssl.models.attention.isolation import MASKING
from textssl.models.presets import PRESETS, STATIC_PRESETS

OFFSET = (  # families whose positions start behind the padding id, beside those of MASKING
    *("data2vec-text", "esm", "ibert", "longformer", "luke", "roberta-prelayernorm", "xlm-roberta-xl", "xmod"),
)
LEARNED_POSITIONS = (  # families with a table of positions, which cannot grow after training
    *("albert", "bert", "camembert", "distilbert", "electra", "gpt2", "roberta", "xlm-roberta"),
    *("bart", "deberta-v2", "gpt_neo", "mpnet", "opt", *OFFSET),
)
DROPOUTS = (  # of the body; those of classifiers on top are left alone
    *("attention_dropout", "attention_probs_dropout_prob", "attn_pdrop", "dropout", "dropout_rate", "embd_pdrop"),
    *("embed_dropout", "embedding_dropout", "hidden_dropout", "hidden_dropout_prob", "mlp_dropout", "resid_dropout"),
    *("resid_pdrop", "residual_dropout", "activation_dropout"),
)
OLDER_FIELDS = {"global_attn_every_n_layers", "global_rope_theta", "local_rope_theta", "rope_scaling", "rope_theta"}
ENCODER_DECODERS = ("bart", "mt5", "t5")  # whose documents can be kept apart in packed rows
HeadKind = Literal["masked", "causal", "seq2seq"]
HEADS: dict[HeadKind, tuple[str, ...]] = {  # ends of class names
    "masked": ("ForMaskedLM", "ForPreTraining"),
    "causal": ("ForCausalLM", "LMHeadModel"),
    "seq2seq": ("ForConditionalGeneration",),
}
PRETEXT = "textssl"  # the key in config.json
DECODER = "decoder"  # the folder beside model/ that has its weights as a causal model
Predicts = bool | Literal["seq2seq"] | None  # True: the next token, False: masked ones, None: nothing
SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "mask_token_id")


def head_kind(architecture: str) -> HeadKind | None:
    """How a transformers class, by its name, predicts tokens; None where it has no such head."""
    if architecture == "ElectraForPreTraining":
        return None  # it detects replaced tokens
    return next((kind for kind, ends in HEADS.items() if architecture.endswith(ends)), None)


def preset_config(name: str) -> PreTrainedConfig:
    """The transformers configuration of a preset. Raises UserError for an unknown name, and for a static encoder."""
    if name in STATIC_PRESETS:
        raise UserError(
            f"model.preset {name} is a static encoder, which predicts no tokens: choose a transformer such as "
            "modernbert-nano, or an objective on sentences such as crops"
        )
    if name not in PRESETS:
        raise UserError(f"unknown model.preset {excerpt(name)}{nearest(name, [*PRESETS, *STATIC_PRESETS])}")
    return checked_config(PRESETS[name], "model.preset")


def checked_config(fields: dict[str, Any], key: str) -> PreTrainedConfig:
    """The transformers configuration of these fields; UserError for a field that its class does not know."""
    fields = dict(fields)
    model_type = fields.pop("model_type", None)
    if model_type is None:
        raise UserError(f"{key}.model_type is missing; for example bert, modernbert, llama or gpt2")
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        close = nearest(str(model_type), list(CONFIG_MAPPING))
        close = close if "did you mean" in close else f"; for example {', '.join(sorted(MASKING))}"
        raise UserError(f"unknown {key}.model_type {excerpt(model_type)}{close}")
    known = CONFIG_MAPPING[model_type]
    valid = [field.name for field in dataclasses.fields(known)]
    valid += [*known.attribute_map, *OLDER_FIELDS]
    for field in fields:
        if field not in valid:
            raise UserError(f"unknown {key}.{field} for model_type {model_type}{nearest(field, valid, key)}")
    try:
        return AutoConfig.for_model(model_type, **fields)
    except (StrictDataclassError, TypeError, ValueError) as error:
        raise UserError(f"{key} is not valid for model_type {model_type}: {' '.join(str(error).split())}") from None


def check_kind(config: PreTrainedConfig, causal: Predicts) -> None:
    """UserError unless the family predicts what the objective needs; None: unless it can embed text here."""
    if causal == "seq2seq":
        if config.model_type not in ENCODER_DECODERS or type(config) not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING:
            raise UserError(
                f"model_type {config.model_type} is not a supported encoder-decoder "
                f"({', '.join(ENCODER_DECODERS)}), which this objective needs: choose one such as model.preset=t5-nano "
                "or bart-nano"
            )
        return
    known = type(config) in MODEL_FOR_MASKED_LM_MAPPING or type(config) in MODEL_FOR_CAUSAL_LM_MAPPING
    if causal is None and (not known or config.is_encoder_decoder):
        raise UserError(
            f"model_type {config.model_type} cannot be used to embed text: choose an encoder such as bert or "
            "modernbert, or a decoder such as llama"
        )
    if causal is None:
        return
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
    """Vocabulary size and special ids from the tokenizer, in place; UserError where a given key disagrees with it."""
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
    try:
        capacity = getattr(config, "max_position_embeddings", None)
    except NotImplementedError:  # families with relative positions (xlnet) say it this way
        capacity = None
    return None if capacity is None or capacity < 0 else capacity - first_position(config)  # xlnet gives -1


def first_position(config: PreTrainedConfig) -> int:
    """Where a family begins to count the positions of a text."""
    if config.model_type == "mpnet":
        return 2  # whatever its padding id is
    masking = MASKING.get(config.model_type)
    offset = config.model_type in OFFSET if masking is None else masking.offset
    return config.pad_token_id + 1 if offset and config.pad_token_id is not None else 0


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


class Pretext(NamedTuple):
    """What a stock class cannot know of a language model: how the objective that trained it reads it.

    It travels in config.json as `textssl: {objective, prediction_offset}`. objective: the name. prediction_offset: the
    place that is predicted, minus the place where its logits stand: 0 in a masked language model, 1 in a causal one.
    """

    objective: str
    prediction_offset: int = 0


def write_pretext(config: Any, pretext: Pretext | None) -> None:
    """Put it into a transformers configuration; None takes out what an earlier objective has left."""
    if pretext is not None:
        setattr(config, PRETEXT, pretext._asdict())
    elif hasattr(config, PRETEXT):
        delattr(config, PRETEXT)


def read_pretext(config: Any) -> Pretext | None:
    """What a configuration says, None where it says nothing that can be read."""
    found = getattr(config, PRETEXT, None)
    if not isinstance(found, dict) or not isinstance(found.get("objective"), str):
        return None
    offset = found.get("prediction_offset", 0)
    return Pretext(found["objective"], offset if isinstance(offset, int) else 0)


def prediction_offset(config: Any) -> int:
    """How many places before a token a language model has the logits for it; 0 where the configuration says nothing."""
    pretext = read_pretext(config)
    return 0 if pretext is None else pretext.prediction_offset
