"""A tokenizer, a corpus and a configuration to train in a test; the text is Python's own reference manual."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from textssl import tokenizer
from textssl.config import Config, apply_override, parse_config
from textssl.data.corpus.encoding import DocumentEncoder, Encoded
from textssl.data.corpus.writer import CorpusWriter


@functools.cache
def texts() -> list[str]:
    """About 100 passages of real English, some 300 kB."""
    paragraphs = [text for topic in sorted(topics) for text in topics[topic].split("\n\n\n")]
    return [text.strip() for text in paragraphs if len(text) > 200][:300]


@functools.cache
def trained_tokenizer():
    return tokenizer.train_tokenizer(iter(texts()), algorithm="bpe", vocab_size=512)


def tiny_tokenizer():
    """A copy for each test: a call of transformers leaves its truncation and padding behind in a tokenizer."""
    return copy.deepcopy(trained_tokenizer())


@functools.cache
def encoder() -> DocumentEncoder:
    return DocumentEncoder(tiny_tokenizer().backend_tokenizer)


@functools.cache
def encode(text: str) -> Encoded:
    """Most corpora of the tests are of the same documents."""
    return encoder().encode([text])


def write_corpus(path: Path, documents: list[str], split: str) -> None:
    words = tiny_tokenizer()
    writer = CorpusWriter(
        path, tokenizer_hash=tokenizer.tokenizer_hash(words), vocab_size=len(words), split=split, block_tokens=2**11
    )
    for text in documents:
        encoded = encode(text)
        writer.add(encoded.ids, encoded.marks, len(text.encode()))
    writer.close()


def make_corpus(folder: Path) -> None:
    """FOLDER/tokenizer and FOLDER/corpus, with its held-out split."""
    tokenizer.save(tiny_tokenizer(), folder / "tokenizer")
    write_corpus(folder / "corpus", texts()[:-10], "train")
    write_corpus(folder / "corpus" / "held-out", texts()[-10:], "held-out")


MODELS = {
    "modernbert": {
        "model_type": "modernbert",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "local_attention": 16,
    },
    "llama": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    },
    "t5": {
        "model_type": "t5",
        "d_model": 32,
        "d_ff": 48,
        "d_kv": 16,
        "num_layers": 2,
        "num_heads": 2,
        "dropout_rate": 0.0,
    },
    "bart": {
        "model_type": "bart",
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 48,
        "max_position_embeddings": 64,
        "dropout": 0.0,
    },
}
PAIRED = {"mlm": "modernbert", "clm": "llama", "infilling": "t5"}  # an objective and the model it is tried on


JOINT = ("byol", "simsiam", "barlow", "vicreg", "whitening", "sigreg")
CROPS = {"min_tokens": 4, "max_tokens": 20}
SENTENCE_MODELS = {  # objectives on sentences, as they are tried: the section, and what else they need
    "simcse": ({"name": "simcse"}, "model.dropout=0.1"),
    "crops": ({"name": "crops", "view": {"min_tokens": 4, "max_tokens": 20}, "matryoshka": [8]}, ""),
    "moco": ({"name": "moco", "queue_size": 20, "view": {"max_tokens": 16, "overlap": "any"}}, ""),
    "byol": ({"name": "byol", "view": CROPS, "projector_width": 24, "momentum": 0.9}, ""),
    "simsiam": ({"name": "simsiam", "view": CROPS, "projector_width": 24, "predictor_width": 16}, ""),
    "barlow": ({"name": "barlow", "view": CROPS, "projector_width": 24, "projector_out": 4}, ""),
    "vicreg": ({"name": "vicreg", "view": CROPS, "projector_width": 24, "projector_out": 4}, ""),
    "whitening": (
        {
            "name": "whitening",
            "view": CROPS,
            "projector_width": 24,
            "projector_out": 16,
            "slice_size": 4,
            "shrinkage": 0.3,
        },
        "",
    ),
    "sigreg": ({"name": "sigreg", "view": CROPS, "projector_width": 24, "projector_out": 4, "num_slices": 16}, ""),
    "swav": (
        {
            "name": "swav",
            "view": CROPS,
            "num_prototypes": 6,
            "queue_size": 20,
            "frozen_steps": 1,
            "projector_width": 12,
        },
        "",
    ),
    "deepcluster": ({"name": "deepcluster", "view": CROPS, "num_clusters": 6, "refresh_every": 4}, ""),
    "cpc": ({"name": "cpc", "num_sentences": 4, "ahead": 2, "max_tokens": 12}, ""),
    "order": ({"name": "order", "min_tokens": 3, "max_tokens": 8, "hidden_width": 16}, ""),
    "pairs": ({"name": "pairs", "symmetric": True}, ""),
    "tsdae": ({"name": "tsdae"}, ""),
    "skipgram": (
        {"name": "skipgram", "subsampling": 1e-2},
        "model={config: {model_type: static, hidden_size: 32, init: random}}",
    ),
    "sum": (
        {
            "name": "sum",
            "parts": [
                {"name": "crops", "view": {"max_tokens": 16}, "projector_width": 8},
                {"name": "mlm", "weight": 0.2, "batch_size": 4},
            ],
        },
        "",
    ),
}


WHOLE_BATCH = [name for name in SENTENCE_MODELS if name not in ("tsdae", "skipgram")]  # whose loss sees all samples


def sentence_config(folder: Path, objective: str, *overrides: str, out: str = "run") -> Config:
    """As tiny_config, for an objective of SENTENCE_MODELS."""
    section, needed = SENTENCE_MODELS[objective]
    config = f"objective={json.dumps(section)}"
    return tiny_config(folder, objective, config, *([needed] if needed else []), *overrides, out=out)


def tiny_config(folder: Path, objective: str = "mlm", *overrides: str, out: str = "run") -> Config:
    """A run of 20 steps of 8 rows on FOLDER's corpus, in float32 whatever the processor is fast in."""
    values: dict[str, Any] = {
        "out": str(folder / out),
        "tokenizer": str(folder / "tokenizer"),
        "data": {"corpus": str(folder / "corpus"), "sequence_length": 64},
        "model": {"config": dict(MODELS[PAIRED.get(objective, "modernbert")])},  # which overrides may change
        "objective": {"name": objective},
        "train": {"max_steps": 20, "batch_size": 8, "log_every": 1, "checkpoint_every": 5, "precision": "float32"},
        "evaluation": {"every": None, "max_rows": 16},
    }
    for override in overrides:
        apply_override(values, override)
    return parse_config(values)
