"""A model from a preset, from any transformers configuration, or from a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from textssl.distributed import without_settings
from textssl.errors import UserError
from textssl.models.attention import dense, varlen
from textssl.models.attention.dense import DENSE
from textssl.models.attention.isolation import MASKING
from textssl.models.attention.varlen import VARLEN
from textssl.models.configuration import (
    LEARNED_POSITIONS,
    Predicts,
    check_kind,
    checked_config,
    fit_positions,
    fit_tokenizer,
    position_capacity,
    preset_config,
    set_dropout,
    write_pretext,
)
from textssl.system.hardware import EAGER_BELOW

if TYPE_CHECKING:
    from textssl.sections import ModelConfig

log = logging.getLogger(__name__)

UNFIT_SIZES = (ArithmeticError, RuntimeError, MemoryError, TypeError, AttributeError, LookupError, AssertionError)
BROKEN_FOLDER = (  # what the stock loaders raise where a file of a folder is cut, empty, a pointer, or something else
    *(OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, ImportError, EOFError),
    *(StrictDataclassError, SafetensorError, UnpicklingError),
)


def build_model(
    spec: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    *,
    causal: Predicts,
    sequence_length: int,
    seed: int,
    factory: Any = None,
    adapt: Callable[[Any], None] = lambda config: None,
) -> PreTrainedModel:
    """A model with float32 weights on the CPU; the same seed gives the same weights.

    spec: one of preset, config (a dictionary with model_type) and pretrained (a folder).
    causal: True for a model of the next token, False for a masked one, "seq2seq" for an encoder-decoder, None for a
    bare backbone of any family.
    sequence_length: tokens in a row, which the positions of the model must hold. factory: an Auto class, instead of the
    one that follows from causal; its heads start anew. adapt: changes the configuration in place before building.
    Raises UserError, naming the key, for unknown names and fields, a model of the wrong kind, positions or embeddings
    that are too few, and folders that are missing or incomplete. The global random generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        factory = factory or FACTORIES[causal]
        if spec.pretrained is not None and not spec.reinitialise:
            return load_pretrained(spec, tokenizer, causal, sequence_length, factory, adapt)
        if spec.pretrained is not None:
            config, given = folder_config(spec), {"vocab_size"}
            write_pretext(config, None)  # of the weights that are left behind
        elif spec.config is not None:
            config = checked_config(spec.config, "model.config")
            given = set(spec.config)
            given |= {name for name, own in config.attribute_map.items() if own in given}
        else:
            config, given = preset_config(str(spec.preset)), set()
        check_kind(config, causal)
        fit_tokenizer(config, tokenizer, given)
        fit_positions(config, sequence_length, "max_position_embeddings" in given)
        set_dropout(config, spec.dropout)
        adapt(config)
        return with_attention(spec.attention, sequence_length, lambda name: from_config(factory, config, name))


def from_config(factory: Any, config: Any, attention: str) -> PreTrainedModel:
    """A model of random weights. UserError where its sizes make none: a width of 0, more than the memory holds."""
    try:
        return factory.from_config(config, attn_implementation=attention, dtype=torch.float32, trust_remote_code=False)
    except UNFIT_SIZES as error:
        raise UserError(f"the model cannot be built: {' '.join(str(error).split())[:500]}") from None


FACTORIES: dict[Predicts, Any] = {
    True: AutoModelForCausalLM,
    False: AutoModelForMaskedLM,
    "seq2seq": AutoModelForSeq2SeqLM,
    None: AutoModel,
}


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and load reports of transformers: what matters in them we check and report ourselves."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()


def with_attention(attention: str, sequence_length: int, build: Callable[[str], PreTrainedModel]) -> PreTrainedModel:
    """build(name of the attention implementation); "auto": sdpa, or eager for families without it; "dense": for those
    whose masks we do not make eager where rows are short, else as "auto". Raises UserError."""
    if attention == DENSE:
        model = with_attention("eager" if sequence_length < EAGER_BELOW else "auto", sequence_length, build)
        if model.config.model_type in MASKING and not getattr(model.config, "reorder_and_upcast_attn", False):  # GPT-2
            dense.register()
            model.set_attn_implementation(DENSE)
        return model
    if attention == VARLEN:
        varlen.register()
    try:
        return build("sdpa" if attention == "auto" else attention)
    except (ImportError, ValueError) as error:
        message = " ".join(str(error).split())
        about_attention = isinstance(error, ImportError) or "attention implementation" in message
        if attention == "auto" and about_attention:
            return build("eager")
        what = f"model.attention={attention} cannot be used" if about_attention else "the model cannot be built"
        raise UserError(f"{what}: {message}") from None


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Recompute activations in the backward, in place: about a third more time for much less memory.

    Raises UserError for a family that transformers cannot do this for.
    """
    # Today's name, and the one that transformers 5.17 has.
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    enable = next(method for name in names if (method := getattr(model, name, None)))
    try:
        enable({"use_reentrant": False})
    except (ValueError, NotImplementedError):
        known = False
    else:
        known = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    if not known:
        raise UserError(
            f"train.gradient_checkpointing=true: transformers cannot recompute the activations of the "
            f"{model.config.model_type} family; leave it out, or lower train.micro_batch_size"
        )


def folder_config(spec: ModelConfig) -> Any:
    """The transformers configuration in the folder spec.pretrained. Raises UserError."""
    folder = Path(str(spec.pretrained))
    if not (folder / "config.json").is_file():
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        raise UserError(f"model.pretrained={spec.pretrained} {what}: give the folder of a saved transformers model")
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except BROKEN_FOLDER as error:
        raise UserError(f"{folder / 'config.json'} cannot be read: {' '.join(str(error).split())}") from None


def load_pretrained(
    spec: ModelConfig,
    tokenizer: PreTrainedTokenizerBase,
    causal: Predicts,
    sequence_length: int,
    factory: Any,
    adapt: Callable[[Any], None],
) -> PreTrainedModel:
    """A model from a folder, with every weight of its backbone found there. Raises UserError."""
    folder, config = Path(str(spec.pretrained)), folder_config(spec)
    check_kind(config, causal)
    if len(tokenizer) > config.vocab_size:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, but {folder} has embeddings for {config.vocab_size}: "
            "use the tokenizer that the model was trained with"
        )
    fit_tokenizer(config, tokenizer, {"vocab_size"})
    fit_positions(config, sequence_length, config.model_type in LEARNED_POSITIONS)
    set_dropout(config, spec.dropout)
    write_pretext(config, None)  # what another objective left
    adapt(config)
    found: dict[str, Any] = {}
    own_heads = factory in FACTORIES.values()

    def load(name: str) -> PreTrainedModel:
        model, report = factory.from_pretrained(
            folder,
            config=config,
            attn_implementation=name,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=not own_heads,
        )
        found.update(report)
        return model

    try:
        with quiet(), without_settings():  # by those of FSDP, transformers loads nothing on ranks after a host's first
            model = with_attention(spec.attention, sequence_length, load)
    except UserError:
        raise
    except BROKEN_FOLDER as error:
        raise UserError(f"the weights in {folder} cannot be loaded: {' '.join(str(error).split())}") from None
    check_loaded(folder, model, found, own_heads)
    model.config.name_or_path = ""  # a result must not carry the paths of the machine that made it
    return model.train()


def check_loaded(folder: Path, model: PreTrainedModel, report: dict[str, Any], own_heads: bool) -> None:
    """UserError for backbone weights that the checkpoint lacks; a missing head starts fresh, and that is logged.

    own_heads: the heads are those of pretraining; else a new head is what was asked for.
    """
    missing = sorted(report.get("missing_keys", ()))
    prefix = "" if model.base_model is model else f"{model.base_model_prefix}."
    other_shape = sorted(str(key if isinstance(key, str) else key[0]) for key in report.get("mismatched_keys", ()))
    absent = [name for name in missing if name.startswith(prefix) and "pooler" not in name]
    absent += [name for name in other_shape if own_heads or name.startswith(prefix)]
    if absent:
        raise UserError(
            f"the checkpoint in {folder} does not fit its config.json: {len(absent)} weights of the backbone are "
            f"missing or have another shape, {', '.join(absent[:3])}{' ...' if len(absent) > 3 else ''}"
        )
    if missing and prefix and own_heads:
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
