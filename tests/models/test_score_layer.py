"""The output layer of a regressor in every kind of family: where a mean can be kept, and where it cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from textssl.errors import UserError
from textssl.models.build import quiet
from textssl.models.classifier import output_layer
from textssl.models.score_layer import LAST_NORM, ScoreLayer, score_head, unit_for
from textssl.sample_types import LabelFacts, ScoreUnit

SIZES: dict[str, Any] = {
    **{"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2},
    **{"vocab_size": 50, "num_labels": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    "max_position_embeddings": 32,
}
FIELDS: dict[str, dict[str, Any]] = {
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global"], 2]], "num_heads": 2},
    "gptj": {"rotary_dim": 4},
    "stablelm": {"num_key_value_heads": 2},
    "starcoder2": {"num_key_value_heads": 2},
    "phi": {"num_key_value_heads": 2},
    "llama": {"num_key_value_heads": 2},
}
WITH_BIAS = ["albert", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "roberta"]
WITHOUT = ["llama", "qwen2", "opt"]
IDS = torch.tensor([[5, 6, 7, 8, 9]])


def regressor(family: str) -> Any:
    with torch.random.fork_rng(), quiet():
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, **{**SIZES, **FIELDS.get(family, {})})
        model = AutoModelForSequenceClassification.from_config(config).eval()
        for parameter in model.parameters():
            parameter.data += torch.randn_like(parameter) * 0.1
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # in transformers 5.17
@pytest.mark.parametrize("family", [*WITH_BIAS, *LAST_NORM])
@torch.no_grad()
def test_scores_are_rescaled_where_the_stock_class_loads_them_back(family, tmp_path):
    model = regressor(family)
    before = model(input_ids=IDS).logits
    head = score_head(model, output_layer(model, 1))
    assert head.holds_mean and (head.norm is None) == (family in WITH_BIAS)
    assert isinstance(output_layer(model, 1), ScoreLayer) and torch.equal(model(input_ids=IDS).logits, before)
    head.rescale(4.0, 30.0)
    with quiet():
        model.save_pretrained(tmp_path)
        stock, report = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    torch.testing.assert_close(stock.eval()(input_ids=IDS).logits, 4 * before + 30, atol=1e-4, rtol=0)
    head.rescale(1 / 4, -30 / 4)
    torch.testing.assert_close(model(input_ids=IDS).logits, before, atol=3e-5, rtol=0)


@pytest.mark.parametrize("family", WITHOUT)
def test_a_mean_that_has_no_place_is_learned_or_refused(family):
    model = regressor(family)
    head = score_head(model, output_layer(model, 1))
    assert unit_for(head, LabelFacts(mean=-5.0, deviation=2.0), family) == ScoreUnit(0.0, 2.0)
    message = rf"the mean .* data\.train, 2000, is 1,000 of their deviations from 0, and a {family} has no bias"
    with pytest.raises(UserError, match=message):
        unit_for(head, LabelFacts(mean=2000.0, deviation=2.0), family)


def test_weights_of_zero_cannot_carry_an_offset():
    model = regressor("gpt2")
    head = score_head(model, output_layer(model, 1))
    torch.nn.init.zeros_(head.layer.weight)
    with pytest.raises(UserError, match="are all 0"):
        head.rescale(1.0, 2.0)


def test_a_model_without_an_output_layer_is_refused():
    with pytest.raises(UserError, match="a bert has no linear output layer for a score"):
        score_head(regressor("bert"), None)
