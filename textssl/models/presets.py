"""Named sizes. The same name means the same layers, width and heads in every family up to small.

| size  | layers x width        | heads | body: modernbert | body: others | meant for              |
|-------|-----------------------|-------|------------------|--------------|------------------------|
| nano  | 4 x 256               | 4     | 2.3M             | 3.2 to 3.4M  | two CPU cores, minutes |
| micro | 6 x 384               | 6     | 7.7M             | 11M          | a laptop CPU, an hour  |
| mini  | 8 x 512               | 8     | 18M              | 26M          | many cores or any GPU  |
| small | 10 x 640              | 10    | 35M              | 50M          | one GPU, hours         |
| base  | 22 x 768 (modernbert) | 12    | 111M             |              | one GPU, days          |
| base  | 12 x 768 (others)     | 12    |                  | 85M          | one GPU, days          |

Body: parameters without the token embeddings, which come on top (vocabulary x width, shared with the output): 2.1M
for nano at 8,192 tokens; 39M for base at 50,368 tokens, which makes the 149M of ModernBERT-base (arXiv:2412.13663)
and 124M for llama-base. Gated feed-forwards are 1.5 widths wide in ModernBERT, as in its paper, and 8/3 widths
(rounded up to 64) in Llama, so that Llama has the parameters of an ungated 4 widths.

ModernBERT attends to the whole document in every third layer and 64 tokens to each side in the others. The sizes
below base hold 1,024 tokens and use the rotary base 10,000 in all layers, as the paper does before its extension to
8,192 tokens. T5 (arXiv:1910.10683) and BART (arXiv:1910.13461) have this many layers in the encoder and as many in
the decoder, which makes 2.3 times the body; T5's feed-forward is gated, as in its version 1.1, and 8/3 widths wide. No
preset has dropout: one pass over much text does not overfit.
"""

from __future__ import annotations

from typing import Any

SIZES = {"nano": (4, 256), "micro": (6, 384), "mini": (8, 512), "small": (10, 640)}  # layers, width
HEAD_WIDTH = 64


def round_up(number: float, multiple: int) -> int:
    return int(-(-number // multiple) * multiple)


def modernbert(layers: int, width: int, positions: int = 1024, global_theta: float = 10_000.0) -> dict[str, Any]:
    return {
        "model_type": "modernbert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": width // HEAD_WIDTH,
        "intermediate_size": width * 3 // 2,
        "max_position_embeddings": positions,
        "local_attention": 128,
        "layer_types": ["sliding_attention" if layer % 3 else "full_attention" for layer in range(layers)],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": global_theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    }


def llama(layers: int, width: int, positions: int = 1024) -> dict[str, Any]:
    return {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": width // HEAD_WIDTH,
        "num_key_value_heads": width // HEAD_WIDTH,
        "intermediate_size": round_up(width * 8 / 3, 64),
        "max_position_embeddings": positions,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }


def bert(layers: int, width: int) -> dict[str, Any]:
    return {
        "model_type": "bert",
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": width // HEAD_WIDTH,
        "intermediate_size": width * 4,
        "max_position_embeddings": 512,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def gpt2(layers: int, width: int) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "n_layer": layers,
        "n_embd": width,
        "n_head": width // HEAD_WIDTH,
        "n_positions": 1024,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }


def t5(layers: int, width: int) -> dict[str, Any]:
    return {
        "model_type": "t5",
        "num_layers": layers,
        "num_decoder_layers": layers,
        "d_model": width,
        "num_heads": width // HEAD_WIDTH,
        "d_kv": HEAD_WIDTH,
        "d_ff": round_up(width * 8 / 3, 64),
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
    }


def bart(layers: int, width: int) -> dict[str, Any]:
    return {
        "model_type": "bart",
        "encoder_layers": layers,
        "decoder_layers": layers,
        "d_model": width,
        "encoder_attention_heads": width // HEAD_WIDTH,
        "decoder_attention_heads": width // HEAD_WIDTH,
        "encoder_ffn_dim": width * 4,
        "decoder_ffn_dim": width * 4,
        "max_position_embeddings": 1024,
        "dropout": 0.0,
    }


PRESETS: dict[str, dict[str, Any]] = {
    **{f"modernbert-{size}": modernbert(*shape) for size, shape in SIZES.items()},
    "modernbert-base": modernbert(22, 768, positions=8192, global_theta=160_000.0),
    **{f"llama-{size}": llama(*shape) for size, shape in SIZES.items()},
    "llama-base": llama(12, 768, positions=2048),
    **{f"bert-{size}": bert(*shape) for size, shape in SIZES.items()},
    **{f"gpt2-{size}": gpt2(*shape) for size, shape in SIZES.items()},
    **{f"t5-{size}": t5(*shape) for size, shape in SIZES.items()},
    "t5-base": t5(12, 768),
    **{f"bart-{size}": bart(*shape) for size, shape in SIZES.items()},
    "bart-base": bart(12, 768),
}

# Sentence encoders without a transformer: vocabulary x width parameters, trained in minutes on a CPU.
# The larger ones have an identity block of 512 or 1,024 dimensions (textssl.models.static).
STATIC_PRESETS: dict[str, dict[str, Any]] = {
    "static-nano": {"model_type": "static", "hidden_size": 256},
    "static-mini": {"model_type": "static", "hidden_size": 512},
    "static-small": {"model_type": "static", "hidden_size": 768, "identity_size": 512},
    "static-base": {"model_type": "static", "hidden_size": 1536, "identity_size": 1024},
}
