"""Whether a tokenizer suits a model family."""

from __future__ import annotations

import json
import unicodedata
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, pre_tokenizers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast


# case, spaces, line breaks, accents, a ligature, rare characters
PROBE = "Tom's  naïve ﬁle:\t10² \n\nÅ, Ж 漢字 🙂."


def covers_all_bytes(tokenizer: Tokenizer) -> bool:
    """Whether the vocabulary can spell every text: it has the byte-level alphabet, or a token for each byte."""
    state = json.loads(tokenizer.to_str())
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if state["model"].get("byte_fallback"):
        return all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    steps = state["pre_tokenizer"] or {}
    types = {step["type"] for step in steps.get("pretokenizers", [steps]) if step}
    return "ByteLevel" in types and all(sign in vocabulary for sign in pre_tokenizers.ByteLevel.alphabet())


def keeps_text(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer is lossless, up to canonical Unicode forms and spaces around a text.

    If it is not, bits per byte have no meaning: an unknown token stands for many bytes at the price of one, and
    lowercasing drops information that the text has. False for slow tokenizers, for which this is not known.
    """
    ids = tokenizer(PROBE, add_special_tokens=False)["input_ids"]
    decoded = str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
    same = unicodedata.normalize("NFC", decoded).strip() == unicodedata.normalize("NFC", PROBE)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return same and backend is not None and covers_all_bytes(backend)


def check_family(tokenizer: PreTrainedTokenizerFast, model_type: str) -> list[str]:
    """What the tokenizer lacks for a model of this transformers type, one sentence each; empty if nothing."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    encoder = model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    decoder = model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not encoder
    warnings = []
    if tokenizer.pad_token is None:
        warnings.append("the tokenizer has no padding token, so texts of different length cannot share a batch")
    if encoder and tokenizer.mask_token is None:
        warnings.append(f"the tokenizer has no mask token, which an encoder ({model_type}) learns from")
    if encoder and (tokenizer.cls_token is None or tokenizer.sep_token is None):
        warnings.append(
            f"the tokenizer has no [CLS] or no [SEP] token, which an encoder ({model_type}) frames texts with"
        )
    if decoder and tokenizer.eos_token is None:
        warnings.append(f"the tokenizer has no end-of-text token, so a generator ({model_type}) cannot learn to stop")
    if decoder and not covers_all_bytes(tokenizer.backend_tokenizer):
        warnings.append(
            f"the tokenizer does not cover every byte: a generator ({model_type}) can never write characters outside "
            "its vocabulary; bpe, or unigram with byte fallback, can"
        )
    kind = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"]
    if decoder and kind == "WordPiece":
        warnings.append(f"WordPiece forgets spacing and line breaks, so a generator ({model_type}) cannot write them")
    return warnings
