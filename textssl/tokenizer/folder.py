"""Tokenizer folders: save, load, hash, and the copy that a causal model is exported with."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, processors

from textssl.errors import UserError
from textssl.system.files import scratch_folder
from textssl.tokenizer.hard_strings import hard_strings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# classes for which tokenizer.json says all; AutoTokenizer rebuilds parts of others when it loads them
PLAIN_CLASSES = {"TokenizersBackend", "PreTrainedTokenizerFast"}
FRAMING = {"TemplateProcessing", "BertProcessing", "RobertaProcessing"}  # post-processors that add special tokens


def save(tokenizer: PreTrainedTokenizerFast, path: str | Path) -> Path:
    """Write a folder that AutoTokenizer loads; returns its path."""
    tokenizer.save_pretrained(str(path))
    return Path(path)


def load(path: str | Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a folder, or of a hub name in the local cache; UserError where there is none."""
    from transformers import AutoTokenizer

    check_folder(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises bare Exception for a broken tokenizer.json
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} is not a tokenizer folder that AutoTokenizer can load: {reason}") from None
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"{path} holds a tokenizer without a fast version (tokenizer.json), which textssl needs")
    return tokenizer


def check_folder(path: str | Path) -> None:
    if os.path.isdir(path) and not any(Path(path).glob("*token*")) and not any(Path(path).glob("vocab*")):
        raise UserError(f"{path} holds no tokenizer (no tokenizer.json): make one with `textssl tokenizer train`")
    if not os.path.exists(path) and not in_hub_cache(str(path)):
        raise UserError(f"the tokenizer folder {path} does not exist: make one with `textssl tokenizer train`")


def in_hub_cache(name: str) -> bool:
    """Whether a hub name was downloaded before (`hf download OWNER/NAME`)."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "tokenizer_config.json"), str)
    except HFValidationError:  # a path, not a name
        return False


def load_backend(path: str | Path) -> Tokenizer:
    """The Tokenizer of a folder, without importing transformers where that changes nothing. UserError as `load`."""
    check_folder(path)
    file, settings = Path(path) / "tokenizer.json", Path(path) / "tokenizer_config.json"
    if file.is_file() and settings.is_file():
        try:
            if json.loads(settings.read_text(encoding="utf-8")).get("tokenizer_class") in PLAIN_CLASSES:
                return Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exceptions
            raise UserError(f"{file} cannot be read as a tokenizer: {error}") from None
    return load(path).backend_tokenizer


def check_reads_back(tokenizer: PreTrainedTokenizerFast, config: Any) -> None:
    """UserError where AutoTokenizer makes another tokenizer of this one, once it is saved beside this config.json.

    For some families it takes the family's own class, whatever tokenizer_config.json says, and that builds its own
    splitting into words around the vocabulary.
    """
    from transformers.models.auto import tokenization_auto as auto

    forced = auto.TOKENIZER_MAPPING_NAMES.get(config.model_type)
    families = getattr(auto, "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS", ())
    if config.model_type not in families or forced in (None, *PLAIN_CLASSES):
        return
    with scratch_folder() as folder:
        config.save_pretrained(folder)
        back = load(save(tokenizer, folder))
    texts = hard_strings()
    if back(texts)["input_ids"] != tokenizer(texts)["input_ids"]:
        raise UserError(
            f"transformers reads the tokenizer of every {config.model_type} as a {forced}, which gives other tokens "
            "than this tokenizer, so that the trained model could not be used: choose another family, such as llama or "
            f"qwen3, or the tokenizer of a {config.model_type} model"
        )


def tokenizer_hash(tokenizer: PreTrainedTokenizerFast | Tokenizer) -> str:
    """sha256 of all that decides which ids a text has, and of the decoder; not of framing, padding and truncation."""
    backend = tokenizer if isinstance(tokenizer, Tokenizer) else tokenizer.backend_tokenizer
    state = json.loads(backend.to_str())
    parts = {key: state[key] for key in ("added_tokens", "normalizer", "pre_tokenizer", "model", "decoder")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def framed_hash(tokenizer: PreTrainedTokenizerFast) -> str:
    """sha256 of `tokenizer_hash` and of all that decides which special tokens are put around a text."""
    frame = json.loads(tokenizer.backend_tokenizer.to_str())["post_processor"]
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    parts = [tokenizer_hash(tokenizer), frame, special]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def for_causal(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy that frames a text as "[CLS] $A": with the token that texts began with in training (the one for their
    beginning, else for their end), if there is one, and none at its end."""
    causal = copy.deepcopy(tokenizer)
    backend = causal.backend_tokenizer
    found = json.loads(backend.to_str())["post_processor"]
    steps = found["processors"] if found and found["type"] == "Sequence" else [found] if found else []
    kept = [processors.ByteLevel(trim_offsets=step["trim_offsets"]) for step in steps if step["type"] == "ByteLevel"]
    others = {step["type"] for step in steps} - FRAMING - {"ByteLevel"}
    assert not others, f"unknown post-processors {others}"
    begin = str(causal.bos_token or causal.eos_token or causal.cls_token or "")
    special = [(begin, causal.convert_tokens_to_ids(begin))] if begin else []
    single, pair = (f"{begin} $A", f"{begin} $A $B:1") if begin else ("$A", "$A $B:1")
    template = processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)
    backend.post_processor = processors.Sequence([*kept, template]) if kept else template
    return causal
