"""A language model over packed rows whose output layer works on predicted tokens only, exported as a stock folder."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textssl.batch import Rows
from textssl.losses.cross_entropy import linear_cross_entropy
from textssl.models.attention.isolation import isolate, own_direction, restore
from textssl.models.build import checkpoint_activations, quiet
from textssl.models.configuration import position_capacity
from textssl.models.layers import compile_layers
from textssl.system.files import written_folder
from textssl.tokenizer import for_causal

log = logging.getLogger(__name__)

Transform = Callable[[PreTrainedModel, Tensor], Tensor]


def identity(model: Any, hidden: Tensor) -> Tensor:
    return hidden


def albert(model: Any, hidden: Tensor) -> Tensor:
    head = model.predictions
    return head.LayerNorm(head.activation(head.dense(hidden)))


def bert(model: Any, hidden: Tensor) -> Tensor:
    return model.cls.predictions.transform(hidden)


def distilbert(model: Any, hidden: Tensor) -> Tensor:
    return model.vocab_layer_norm(model.activation(model.vocab_transform(hidden)))


def electra(model: Any, hidden: Tensor) -> Tensor:
    return model.generator_predictions(hidden)


def modernbert(model: Any, hidden: Tensor) -> Tensor:
    return model.head(hidden)


def modernbert_decoder(model: Any, hidden: Tensor) -> Tensor:
    return model.lm_head(hidden)


def roberta(model: Any, hidden: Tensor) -> Tensor:
    head = model.lm_head
    return head.layer_norm(F.gelu(head.dense(hidden)))


# What happens to a hidden state before the output layer, which is get_output_embeddings() in every family here.
TRANSFORMS: dict[str, Transform] = {
    "albert": albert,
    "bert": bert,
    "distilbert": distilbert,
    "electra": electra,
    "modernbert": modernbert,
    "modernbert-decoder": modernbert_decoder,
    **dict.fromkeys(("camembert", "roberta", "xlm-roberta"), roberta),
    **dict.fromkeys(("gemma", "gpt2", "gpt_neox", "llama", "olmo2"), identity),
    **dict.fromkeys(("mistral", "phi3", "qwen2", "qwen3", "smollm3", "starcoder2"), identity),
}


class LanguageModel(nn.Module):
    """A transformers language model that reads packed rows.

    forward(batch) gives hidden states (rows, length, width); `logits` and `cross_entropy` take any of them, flattened
    to (tokens, width), so that an objective pays for the output layer on predicted tokens only.
    Families without an entry in TRANSFORMS give their full logits instead of hidden states, and this is logged once.
    """

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model, self.compiled = model, False
        self.transform = TRANSFORMS.get(model.config.model_type)
        if not self.supports_partial_logits and model is not model.base_model:  # a bare backbone has no output layer
            log.warning(
                "the %s family has no entry for its output layer: logits of every token are computed, "
                "which is slower (textssl/models/heads.py, TRANSFORMS)",
                model.config.model_type,
            )

    @property
    def supports_partial_logits(self) -> bool:
        return self.transform is not None

    @property
    def backbone(self) -> nn.Module:
        """The transformer below the output layer."""
        return self.model.base_model

    @property
    def output(self) -> nn.Linear:
        """The layer from a transformed hidden state to logits, often tied to the token embeddings."""
        return cast(nn.Linear, self.model.get_output_embeddings())

    @property
    def causal(self) -> bool:
        return own_direction(self.model.config)

    @property
    def width(self) -> int:
        """Size of a hidden state; for families without partial logits, the vocabulary."""
        return self.model.config.hidden_size if self.supports_partial_logits else self.model.config.vocab_size

    def forward(self, batch: Rows, *, causal: bool | None = None) -> Tensor:
        """Hidden states (rows, length, width), documents isolated; causal overrides the family's direction.

        A batch of no rows runs one token and drops it, so that every parameter still receives a gradient of zero.
        """
        if self.supports_partial_logits:
            return self.states(batch, causal=causal)
        if len(batch) == 0:
            return no_rows(self(one_token(batch), causal=causal), batch)
        return restore(self.model, self.model(**self.arguments(batch, causal)).logits, batch)

    def states(self, batch: Rows, *, causal: bool | None = None) -> Tensor:
        """Last hidden states of the transformer, (rows, length, width), documents isolated; no rows give none."""
        if len(batch) == 0:
            return no_rows(self.states(one_token(batch), causal=causal), batch)
        return restore(self.model, self.backbone(**self.arguments(batch, causal)).last_hidden_state, batch)

    def hidden_states(self, batch: Rows, last: int) -> list[Tensor]:
        """Hidden states after each of the top `last` layers, (rows, length, width) each, documents isolated."""
        if len(batch) == 0:
            return [no_rows(layer, batch) for layer in self.hidden_states(one_token(batch), last)]
        layers = self.backbone(**self.arguments(batch), output_hidden_states=True).hidden_states
        return [restore(self.model, layer, batch) for layer in layers[-last:]]

    def arguments(self, batch: Rows, causal: bool | None = None) -> dict[str, Any]:
        """Keyword arguments of the stock forward."""
        options = {"use_cache": False} if self.model.can_generate() else {}
        isolated = isolate(self.model, batch, causal=causal)
        if self.compiled and "cu_seq_lens_q" in isolated:
            torch._dynamo.maybe_mark_dynamic(isolated["cu_seq_lens_q"], 0)  # or the second batch compiles all again
        return isolated | options

    def logits(self, hidden: Tensor) -> Tensor:
        """(tokens, width) -> (tokens, vocabulary), as the stock model gives them."""
        if self.transform is None:
            return hidden
        return self.output(self.transform(self.model, hidden))

    def cross_entropy(self, hidden: Tensor, labels: Tensor, token_weights: Tensor | None = None) -> Tensor:
        """Sum over tokens of the cross entropy in nats, float32. hidden: (tokens, width); labels: (tokens,) int64.

        token_weights: (tokens,), by which each token's part is multiplied.
        """
        if self.transform is None:
            each = F.cross_entropy(hidden.float(), labels, reduction="none")
            return (each if token_weights is None else each * token_weights).sum()
        hidden = self.transform(self.model, hidden)
        return linear_cross_entropy(
            *(hidden, self.output.weight, self.output.bias, labels), token_weights=token_weights
        )

    def checkpoint_gradients(self) -> None:
        checkpoint_activations(self.model)

    def compile(self, **options: Any) -> None:
        """torch.compile for the backbone, in place; names of parameters stay as they are."""
        self.compiled = True
        compile_layers(self.backbone, **options)

    def export(self, path: str | Path, tokenizer: PreTrainedTokenizerBase) -> Path:
        """Write a stock transformers folder with its tokenizer, whole or not at all; returns the folder.

        The tokenizer's model_max_length becomes the number of positions, and for causal models its post-processor
        becomes the one of `for_causal` (a start token and no end token, so that a prompt can be continued).
        """
        tokenizer = for_causal(cast(Any, tokenizer)) if self.causal else copy.deepcopy(tokenizer)
        capacity = position_capacity(self.model.config)
        if capacity is not None:
            tokenizer.model_max_length = capacity
        with written_folder(path) as aside, quiet():
            self.model.save_pretrained(aside)
            tokenizer.save_pretrained(aside)
        return Path(path)


def no_rows(states: Tensor, batch: Rows) -> Tensor:
    """(0, length, width): states of `one_token` without its row, in the graph all the same."""
    return states[:0].expand(0, batch.ids.shape[1], -1)


def one_token(batch: Rows) -> Rows:
    """A row of one token, for a micro-batch that has none."""
    one = torch.ones(1, 1, dtype=torch.int64, device=batch.ids.device)
    return Rows(one * 0, one.to(batch.documents.dtype), one * 0, one * -100, one[0] * 0)
