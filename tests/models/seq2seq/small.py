"""Small encoder-decoders with weights large enough that a leak between documents shows, and packed rows for them."""

from __future__ import annotations

import torch

from tests.models.small import make_rows, spread, word_tokenizer
from textssl.models.seq2seq.model import Seq2SeqModel, build_seq2seq
from textssl.models.seq2seq.pairs import RowPairs
from textssl.sections import ModelConfig

WIDTHS = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
CONFIGS = {
    "t5": {"d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0},
    "t5-gated": {
        **{"d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0},
        "feed_forward_proj": "gated-gelu",
    },
    "mt5": {"d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4, "dropout_rate": 0.0},
    "bart": {
        **WIDTHS,
        **{"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 40, "dropout": 0.0},
    },
}
SOURCES = [[7, 12, 4], [23], [20], [1, 1, 19], []]  # a full row, padding, documents of one token, padding alone
TARGETS = [[5, 2, 9], [17], [1], [3, 6, 1], []]
LENGTHS = (23, 17)


def small_seq2seq(name: str, attention: str = "sdpa", std: float = 0.3) -> Seq2SeqModel:
    config = {"model_type": name.removesuffix("-gated"), **CONFIGS[name]}
    spec = ModelConfig.model_validate({"config": config, "attention": attention})
    model = build_seq2seq(spec, word_tokenizer(), sequence_length=32, seed=0).eval()
    spread(model, std)
    return model


def make_pairs(sources=SOURCES, targets=TARGETS, lengths=LENGTHS) -> RowPairs:
    """Rows whose documents have these numbers of tokens on either side."""
    source, target = make_rows(sources, lengths[0]), make_rows(targets, lengths[1], seed=1)
    nothing = torch.zeros(len(sources), dtype=torch.int64)
    return RowPairs(source, target, torch.arange(len(sources)), nothing, nothing)
