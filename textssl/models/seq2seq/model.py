"""An encoder-decoder that reads and writes packed rows, exported as a stock folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textssl.batch import Rows
from textssl.errors import UserError
from textssl.losses.cross_entropy import linear_cross_entropy
from textssl.models.attention.dense import DENSE
from textssl.models.build import build_model, checkpoint_activations, folder_config, quiet
from textssl.models.configuration import position_capacity
from textssl.models.heads import one_token
from textssl.models.layers import compile_layers
from textssl.models.seq2seq.packed import read, write
from textssl.models.seq2seq.pairs import RowPairs
from textssl.system.files import written_folder
from textssl.tokenizer.sentinels import SENTINELS, sentinel_ids, with_sentinels
from textssl.tokenizer.vocabulary import padding_id

if TYPE_CHECKING:
    from textssl.sections import ModelConfig


class Seq2SeqModel(nn.Module):
    """A transformers encoder-decoder over packed rows, documents isolated on both sides.

    forward(batch) gives the decoder's hidden states (rows, target length, width); `logits` and `cross_entropy` take any
    of them, flattened to (tokens, width). sentinels: ids of the tokens that stand for hidden spans. begin: the token
    that a target begins with. max_tokens: of a text, special tokens included, as the exported tokenizer says.
    """

    def __init__(self, model: PreTrainedModel, sentinels: tuple[int, ...], max_tokens: int):
        super().__init__()
        self.model, self.sentinels, self.max_tokens = model, sentinels, max_tokens

    @property
    def backbone(self) -> nn.Module:
        return self.model

    @property
    def output(self) -> nn.Linear:
        """The layer from a hidden state of the decoder to logits, tied to the token embeddings."""
        return cast(nn.Linear, self.model.get_output_embeddings())

    @property
    def begin(self) -> int:
        return cast(int, self.model.config.decoder_start_token_id)

    @property
    def width(self) -> int:
        return self.model.config.hidden_size

    def forward(self, batch: RowPairs) -> tuple[Tensor, Tensor]:
        """Hidden states of the decoder (rows, target length, width) and encoder, documents isolated.

        A batch of no rows runs one token and drops it, so that every parameter still gets a gradient of zero.
        """
        if len(batch) == 0:
            source, target = one_token(batch.source), one_token(batch.target)
            encoded = read(self.model, source)
            hidden = write(self.model, target, source, encoded)[:0]
            lengths = batch.target.ids.shape[1], batch.source.ids.shape[1]
            return hidden.expand(0, lengths[0], -1), encoded[:0].expand(0, lengths[1], -1)
        encoded = read(self.model, batch.source)
        return write(self.model, batch.target, batch.source, encoded), encoded

    def states(self, batch: Rows) -> Tensor:
        """Hidden states of the encoder, (rows, length, width), documents isolated."""
        return read(self.model, batch)

    def head(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        """What goes into the output layer, and what is added to its logits."""
        config, bias = self.model.config, getattr(self.model, "final_logits_bias", None)
        if config.model_type == "t5" and getattr(config, "scale_decoder_outputs", config.tie_word_embeddings):
            hidden = hidden * config.hidden_size**-0.5  # as its embeddings have a standard deviation of 1
        return hidden, None if bias is None else bias[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """(tokens, width) -> (tokens, vocabulary), as the stock model gives them."""
        hidden, bias = self.head(hidden)
        logits = self.output(hidden)
        return logits if bias is None else logits + bias

    def cross_entropy(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Sum over tokens of the cross entropy in nats, float32. hidden: (tokens, width); labels: (tokens,) int64."""
        hidden, bias = self.head(hidden)
        return linear_cross_entropy(hidden, self.output.weight, bias, labels)

    def checkpoint_gradients(self) -> None:
        checkpoint_activations(self.model)

    def compile(self, **options: Any) -> None:
        """torch.compile for encoder and decoder, in place; names of parameters stay as they are."""
        compile_layers(self.model.get_encoder(), **options)
        compile_layers(self.model.get_decoder(), **options)

    def export(self, path: str | Path, tokenizer: PreTrainedTokenizerBase) -> Path:
        """Write a stock folder for AutoModelForSeq2SeqLM with the tokenizer and its sentinels, whole or not at all."""
        words = with_sentinels(tokenizer)
        words.model_max_length = position_capacity(self.model.config) or self.max_tokens
        with written_folder(path) as aside, quiet():
            self.model.save_pretrained(aside)
            words.save_pretrained(aside)
        return Path(path)


def build_seq2seq(
    spec: ModelConfig, tokenizer: PreTrainedTokenizerBase, *, sequence_length: int, seed: int
) -> Seq2SeqModel:
    """An encoder-decoder whose vocabulary is the tokenizer's and the sentinels. As `build_model`; raises UserError."""
    if spec.attention not in ("auto", "sdpa", "eager", DENSE):
        raise UserError(
            f"model.attention is {spec.attention}, and an encoder-decoder takes sdpa or eager: leave it out"
        )
    if spec.frozen_layers:
        raise UserError(
            "model.frozen_layers is for models of one stack of layers, not an encoder-decoder: leave it out"
        )
    words = with_sentinels(tokenizer)
    if spec.pretrained is not None and not spec.reinitialise and folder_config(spec).vocab_size < len(words):
        raise UserError(
            f"{spec.pretrained} has embeddings for {folder_config(spec).vocab_size} tokens, too few for the "
            f"{len(words)} of the tokenizer with {len(SENTINELS)} sentinels: start from a folder that an infilling run "
            "left, or add model.reinitialise=true"
        )
    model = build_model(
        *(spec, words),
        causal="seq2seq",
        sequence_length=sequence_length,
        seed=seed,
        adapt=lambda config: begin_targets(config, tokenizer),
    )
    if model.config.model_type in ("t5", "mt5") and (spec.pretrained is None or spec.reinitialise):
        soften_embeddings(model)
    return Seq2SeqModel(model, sentinel_ids(words), sequence_length)


@torch.no_grad()
def soften_embeddings(model: Any) -> None:
    """Token embeddings of a new T5 at a tenth of their size, in place.

    T5 draws them with a standard deviation of 1. As the output layer is tied to them, the decoder begins by repeating
    the token before, with a logit near the square root of the width, and some hundred steps go into unlearning that.
    """
    model.get_input_embeddings().weight.mul_(0.1)


def begin_targets(config: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """The token that targets begin with, in place: padding for T5, the end of a text for BART, as their papers do."""
    config.pad_token_id = padding_id(tokenizer)
    config.eos_token_id = end_id(tokenizer)
    if getattr(config, "forced_eos_token_id", None) is not None:
        config.forced_eos_token_id = None
    config.decoder_start_token_id = config.eos_token_id if config.model_type == "bart" else config.pad_token_id


def end_id(tokenizer: Any) -> int | None:
    """What ends a target: the end-of-text token, else the separator."""
    return tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
