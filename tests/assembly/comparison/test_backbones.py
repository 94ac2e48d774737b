"""Which model an objective is compared on."""

from __future__ import annotations

import pytest

from textssl.assembly.comparison.backbones import SWITCHED, model_words, placed
from textssl.config import load_config, parse_config
from textssl.errors import UserError
from textssl.named_configs import config_names
from textssl.objectives import SUPERVISED
from textssl.sections import ModelConfig


def settings(name: str, model: dict, **objective):
    return parse_config({"objective": {"name": name, **objective}, "model": model})


@pytest.mark.parametrize(
    ("config", "wanted", "overrides"),
    [
        (settings("mlm", {"preset": "modernbert-nano"}), "nano", ()),
        (settings("mlm", {"preset": "bert-nano"}), "micro", ("model.preset=bert-micro",)),
        (settings("clm", {"preset": "gpt2-nano"}), "micro", ("model.preset=gpt2-micro",)),
        (settings("clm", {"config": {"model_type": "gpt2"}}), "nano", ("model.preset=llama-nano",)),
        (settings("crops", {"preset": "static-base"}), "nano", ("model.preset=modernbert-nano", *SWITCHED[False])),
        (settings("crops", {"preset": "static-base"}), "static-nano", ("model.preset=static-nano",)),
        (settings("moco", {"preset": "bert-nano"}), "static-nano", ("model.preset=static-nano", *SWITCHED[True])),
        (settings("crops", {"preset": "static-base"}), "config", ()),
        (settings("crops", {"preset": "static-base"}), "static-base", ()),
    ],
)
def test_a_size_keeps_the_family_and_another_kind_changes_the_recipe(config, wanted, overrides):
    assert placed(config, wanted) == (overrides, None)


def test_a_static_table_is_for_objectives_that_need_no_layers():
    mixture = settings("sum", {}, parts=[{"name": "crops"}, {"name": "mlm"}])
    for config in (settings("mlm", {}), settings("clm", {}), mixture):
        assert placed(config, "static-nano").reason == "a static table has no layers for it"


def test_what_needs_dropout_or_a_table_is_left_out_where_there_is_none():
    assert placed(settings("simcse", {"dropout": 0.1}), "static-nano").reason == (
        "a static table has no dropout for its views"
    )
    assert placed(load_config("skipgram"), "nano").reason == "it trains a static table"
    assert placed(load_config("skipgram"), "static-nano").reason is None


def test_the_same_objective_for_another_size_is_left_out():
    small = settings("mlm", {"preset": "modernbert-nano"}, mask_rate=0.3)
    large = settings("mlm", {"preset": "modernbert-base"}, mask_rate=0.3, unit="token")  # a default, written out
    assert placed(large, "nano", [small]).reason and not placed(small, "nano", [large]).reason
    assert placed(large, "base", [small]) == ((), None)
    other = settings("mlm", {"preset": "modernbert-base"}, mask_rate=0.5)
    assert placed(other, "nano", [small]) == (("model.preset=modernbert-nano",), None)


def test_an_unknown_model_is_named():
    with pytest.raises(UserError, match=r"--model is 'nanno': it takes a size .nano, "):
        placed(settings("mlm", {}), "nanno")


def test_every_named_configuration_has_a_place():
    for name in config_names():
        config = load_config(name)
        if config.objective["name"] not in SUPERVISED:
            for wanted in ("nano", "static-nano", "config"):
                found = placed(config, wanted)
                assert found.reason is None or not found.overrides


def test_models_have_names():
    assert model_words(ModelConfig(preset="bert-nano")) == "bert-nano"
    assert model_words(ModelConfig(config={"model_type": "gpt2"})) == "gpt2"
    assert "runs/a/model" in model_words(ModelConfig(pretrained="runs/a/model"))
