"""The output layer of a regressor: float32 under autocast, and its unit folded into weights and taken out again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from textssl.errors import UserError
from textssl.sample_types import LabelFacts, ScoreUnit

# Families whose output layer has no bias, but reads a layer norm that has one, by the name of that norm.
LAST_NORM = {
    **dict.fromkeys(("bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gptj"), "ln_f"),
    **{"gpt_neox": "final_layer_norm", "phi": "final_layernorm", "stablelm": "norm", "starcoder2": "norm"},
}
FARTHEST_MEAN = 10  # deviations from 0 that weights without any bias still learn


class ScoreLayer(nn.Linear):
    """A linear layer that computes in the precision of its weights, whatever autocast says."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))


@dataclass
class ScoreHead:
    """The layers that give the score of a stock regressor, which `rescale` changes in place.

    layer: gives the score. norm: what the layer reads, where the layer has no bias and the norm has one.
    """

    layer: nn.Linear
    norm: nn.LayerNorm | None

    @property
    def parameters(self) -> list[Tensor]:
        """All parameters that `rescale` changes."""
        norm = [] if self.norm is None else [self.norm.bias]
        return [self.layer.weight, *([] if self.layer.bias is None else [self.layer.bias]), *norm]

    @property
    def holds_mean(self) -> bool:
        return self.layer.bias is not None or self.norm is not None

    @torch.no_grad()
    def rescale(self, factor: float, offset: float) -> None:
        """Make every score factor * score + offset, in float64. Raises UserError for weights of 0 without a bias."""
        layer = self.layer
        layer.weight.copy_(layer.weight.double() * factor)
        if layer.bias is not None:
            layer.bias.copy_(layer.bias.double() * factor + offset)
        elif self.norm is not None and offset:  # the shortest vector that the weights map to the offset
            weight = layer.weight[0].double()
            size = weight.square().sum()
            if not size > 0:
                raise UserError(
                    "the output layer's weights are all 0, so no score can be computed: start from random weights"
                )
            self.norm.bias.copy_(self.norm.bias.double() + offset * weight / size)


def score_head(model: PreTrainedModel, layer: nn.Linear | None) -> ScoreHead:
    """Make the output layer of a regressor a ScoreLayer, in place. Raises UserError where there is none."""
    family = model.config.model_type
    if layer is None:
        raise UserError(f"a {family} has no linear output layer for a score: choose another model, such as bert")
    name = next(name for name, module in model.named_modules() if module is layer)
    parent, _, own_name = name.rpartition(".")
    made = ScoreLayer(layer.in_features, 1, bias=layer.bias is not None, device="meta")
    made.weight, made.bias = layer.weight, layer.bias
    setattr(model.get_submodule(parent), own_name, made)
    norm = getattr(model.base_model, LAST_NORM.get(family, ""), None) if layer.bias is None else None
    has_bias = isinstance(norm, nn.LayerNorm) and norm.bias is not None
    return ScoreHead(made, norm if has_bias else None)


def unit_for(head: ScoreHead, facts: LabelFacts, family: str) -> ScoreUnit:
    """The unit that a head is trained in. Raises UserError where it has nowhere to keep a mean that is far from 0."""
    if head.holds_mean:
        return ScoreUnit(facts.mean, facts.deviation)
    far = abs(facts.mean) / facts.deviation
    if far > FARTHEST_MEAN:
        raise UserError(
            f"the mean of the scores in data.train, {facts.mean:.6g}, is {far:,.0f} of their deviations from 0, and a "
            f"{family} has no bias in its output layer to hold it: subtract {facts.mean:.3g} from every score, or "
            "choose another model, such as bert, modernbert or gpt2"
        )
    return ScoreUnit(0.0, facts.deviation)
