"""Which tokens were replaced: the stock class that tells, over a backbone."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification, ElectraForPreTraining

from textssl.batch import Rows
from textssl.errors import UserError
from textssl.models.attention.isolation import restore
from textssl.models.heads import LanguageModel, one_token

LABELS = ("original", "replaced")


class Detector(nn.Module):
    """A stock head over a backbone that the caller owns: ElectraForPreTraining for the electra family, and token
    classification with two labels for any other. share: about what share of the tokens is replaced, at which the output
    bias starts. Raises UserError for a family that has no such head.
    """

    def __init__(self, language_model: LanguageModel, share: float = 0.5):
        super().__init__()
        body: Any = language_model.backbone
        config = copy.deepcopy(body.config)
        if config.model_type == "electra":
            stock: Any = ElectraForPreTraining(config)
        else:
            config.id2label = dict(enumerate(LABELS))
            config.label2id = {label: number for number, label in enumerate(LABELS)}
            stock = self.token_classifier(config)
        if getattr(body, "pooler", None) is not None:  # which reads the first token alone, and takes no part
            body.pooler = None
        setattr(stock, stock.base_model_prefix, body)
        self.stock = (stock,)  # in a tuple: the backbone is not registered a second time
        self.heads = nn.ModuleDict({name: child for name, child in stock.named_children() if child is not body})
        for layer in self.output_layers():
            if layer.bias is not None:
                layer.bias.data[-1] = math.log(share / (1 - share)) if 0 < share < 1 else 0.0

    @staticmethod
    def token_classifier(config: Any) -> Any:
        try:
            return AutoModelForTokenClassification.from_config(
                config, attn_implementation=config._attn_implementation, dtype=torch.float32
            )
        except ValueError:
            raise UserError(
                f"model_type {config.model_type} has no head that classifies tokens, which replaced_token needs: "
                "choose an encoder such as model.preset=modernbert-nano or bert-nano"
            ) from None

    def output_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.heads.modules() if isinstance(layer, nn.Linear) and layer.out_features <= 2]

    def forward(self, language_model: LanguageModel, batch: Rows) -> tuple[Tensor, Tensor]:
        """The log-odds that each token was replaced, (rows, length); what they are read from, (rows, length, width)."""
        if len(batch) == 0:
            odds, states = (found[:0] for found in self(language_model, one_token(batch)))
            length = batch.ids.shape[1]
            return odds.expand(0, length), states.expand(0, length, -1)
        read: list[Tensor] = []
        first = next(iter(self.heads.values()))
        with first.register_forward_pre_hook(lambda _, given: read.append(given[0].detach())):
            logits = self.stock[0](**language_model.arguments(batch)).logits
        states = restore(language_model.model, read[0], batch)
        if logits.ndim == 2:  # of ElectraForPreTraining
            return restore(language_model.model, logits.unsqueeze(-1), batch).squeeze(-1), states
        scores = restore(language_model.model, logits, batch)
        return scores[..., 1] - scores[..., 0], states
