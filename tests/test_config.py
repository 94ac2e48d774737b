import math
import re
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

from textssl.commands.generate import generate
from textssl.commands.mine import mine
from textssl.config import (
    ENDS,
    Config,
    differing_keys,
    load_config,
    options_model,
    parse_config,
    shared_values,
    validate_options,
)
from textssl.errors import UserError
from textssl.objectives import find_objective, resolve_objective


def load(tmp_path, text="train: {max_steps: 10}", *overrides):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return load_config(path, overrides)


@pytest.mark.parametrize(
    "override, message",
    [
        ("train.max_step=3", "unknown key train.max_step; did you mean train.max_steps?"),
        ("optimiser.lr=1", "unknown key optimiser; did you mean optimizer?"),
        ("data.corpus=[{pth: a}]", "unknown key data.corpus.0.pth; did you mean data.corpus.0.path?"),
        ("train.zzzzzz=1", "unknown key train.zzzzzz; valid here: batch_size, "),
        ("train.max_steps=abc", "train.max_steps: input should be a valid integer"),
        ("train.max_steps=0", "train.max_steps: input should be greater than 0 (got 0)"),
        ("schedule.name=cosin", "schedule.name: input should be 'constant', 'linear', 'cosine' or 'wsd' (got 'cosin')"),
        ("model={preset: a, pretrained: b}", "give one of preset, config and pretrained"),
        ("optimizer.lr=.inf", "optimizer.lr: input should be a finite number (got inf)"),
        ("optimizer.eps=1e400", "optimizer.eps: input should be a finite number (got inf)"),
        ("optimizer.betas=[.nan, 0.9]", "optimizer.betas.0: input should be a finite number (got nan)"),
        ("optimizer.betas=[0.9, 1]", "optimizer.betas.1: input should be less than 1 (got 1)"),
        ("optimizer.betas=[-0.1, 0.9]", "optimizer.betas.0: input should be greater than or equal to 0 (got -0.1)"),
        ("train.max_seconds=.inf", "train.max_seconds: input should be a finite number (got inf)"),
        ("train.max_epochs=.nan", "train.max_epochs: input should be a finite number (got nan)"),
        ("train.max_grad_norm=.inf", "train.max_grad_norm: input should be a finite number (got inf)"),
        ("data.corpus=[{path: a, weight: .inf}]", "data.corpus.0.weight: input should be a finite number (got inf)"),
        ("train.max_steps=.inf", "train.max_steps: input should be a finite number (got inf)"),
        ("seed=-1", "seed: input should be greater than or equal to 0 (got -1)"),
        (f"seed={2**63}", f"seed: input should be less than {2**63} (got {2**63})"),
        (f"train.max_steps={2**63}", f"train.max_steps: integers must be from -2^63 to 2^63 - 1 (got {2**63})"),
        (f"objective={{name: mlm, x: [{2**70}]}}", "objective: integers must be from -2^63 to 2^63 - 1"),
        (f"seed={2**63 - 1}\ntrain.num_seeds=2", "seed + train.num_seeds must be at most 2^63"),
        ("seed", "write key.sub=value"),
        ("seed=[1", "the value of seed is not valid YAML"),
        ("seed.sub.key=1", "cannot set seed.sub.key: seed is not a section"),
    ],
)
def test_mistakes_are_answered_with_the_key(tmp_path, override, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load(tmp_path, "seed: 1\ntrain: {max_steps: 10}", *override.splitlines())


@pytest.mark.parametrize(
    "text, message", [("a: 1\na: 2", "written twice"), ("- 1", "sections"), ("a: [", "not valid YAML")]
)
def test_broken_files_are_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path, text)
    assert "run.yaml" in str(caught.value)
    with pytest.raises(UserError, match="does not exist"):
        load_config(tmp_path / "missing.yaml")


def test_overrides_are_yaml_and_the_last_one_counts(tmp_path):
    config = load(tmp_path, "", "optimizer.lr=1e-3", "train.max_tokens=1e6", "train.max_tokens=2e6", "data.corpus=here")
    assert (config.optimizer.lr, config.train.max_tokens) == (1e-3, 2_000_000)
    assert [(share.path, share.weight) for share in config.data.corpus] == [("here", 1.0)]
    mixed = load(tmp_path, "", "data.corpus=[{path: a, weight: 2}, {path: b}]")
    assert [(share.path, share.weight) for share in mixed.data.corpus] == [("a", 2.0), ("b", 1.0)]
    model = load(tmp_path, "model: {preset: llama-nano}", "model={config: {model_type: bert}}")
    assert model.model.config == {"model_type": "bert"} and model.model.preset is None
    assert load(tmp_path, "model: {preset: llama-nano}", "model.pretrained=DIR").model.preset is None


@pytest.mark.parametrize("name", ["/some/run #2", "123", "1e3", "yes", "a: b", "[x", "null", "'q'", "2026-01-01", "*a"])
def test_names_and_paths_are_taken_as_they_are_written(tmp_path, name):
    config = load(tmp_path, "tokenizer: t", f"out={name}", f"data.train={name}x", f"model.pretrained={name}x")
    assert (config.out, config.data.train, config.model.pretrained) == (name, f"{name}x", f"{name}x")
    assert load(tmp_path, "", "data.corpus=my corpus #2").data.corpus[0].path == "my corpus #2"


def test_sections_and_lists_stay_yaml(tmp_path):
    config = load(tmp_path, "", "objective={name: clm}", "model.config={model_type: llama}", "evaluation.tasks=[a, b]")
    assert (config.objective, config.model.config) == ({"name": "clm"}, {"model_type": "llama"})
    assert config.evaluation.tasks == ["a", "b"]


@pytest.mark.parametrize("text", ["", "null"])
def test_a_name_can_be_taken_back(tmp_path, text):
    assert load(tmp_path, "tokenizer: t", f"tokenizer={text}").tokenizer is None
    with pytest.raises(UserError, match=r"^the override out=: out: input should be a valid string"):
        load(tmp_path, "", "out=")


def test_a_message_names_the_override_and_not_the_file(tmp_path):
    def message(*overrides: str) -> str:
        with pytest.raises(UserError) as caught:
            load(tmp_path, "train: {max_steps: 10}\nseed: x", "seed=1", *overrides)
        return str(caught.value)

    assert message("seed=x").startswith("the override seed=x: seed: input should be a valid integer")
    assert message("train.max_steps=9", "train={max_steps: 0}").startswith("the override train={max_steps: 0}: ")
    assert message("data.corpus=[{pth: a}]").startswith("the override data.corpus=[{pth: a}]: data.corpus.0")
    assert "run.yaml with evaluation.patience=3: evaluation: patience needs" in message("evaluation.patience=3")
    assert len(message(f"data.corpus=[{'x' * 9000}")) < 400
    with pytest.raises(UserError, match=r"run\.yaml: seed: .*; the override train\.max_steps=0: train\.max_steps"):
        load(tmp_path, "seed: x", "train.max_steps=0")


def test_a_length_that_is_given_takes_the_files_out(tmp_path):
    file = "train: {max_steps: 7, batch_size: 3}"

    def ends(*overrides: str) -> dict:
        train = load(tmp_path, file, *overrides).train
        assert train.batch_size == 3
        return {end: getattr(train, end) for end in ENDS if getattr(train, end) is not None}

    assert ends() == {"max_steps": 7}
    assert ends("train.max_seconds=60") == {"max_seconds": 60}
    assert ends("train.max_seconds=60", "train.max_steps=9") == {"max_steps": 9, "max_seconds": 60}
    assert ends("train.max_seconds=60", "train.max_steps=null") == {"max_seconds": 60}
    assert ends("train.max_epochs=null") == {"max_steps": 7}
    assert ends("train.max_steps=null", "train.max_epochs=2") == {"max_epochs": 2}
    assert ends("train={batch_size: 3, max_tokens: 5}") == {"max_tokens": 5}


def test_a_length_of_null_is_none_given(tmp_path):
    for text, given in (("train: {max_steps: null}", ()), ("{}", ("train.max_steps=null",))):
        path = tmp_path / "run.yaml"
        path.write_text(text)
        train = load_config(path, given, {"train": {"max_epochs": 5}}).train
        assert (train.max_epochs, train.max_steps) == (5, None)


def test_what_takes_a_model_back_takes_no_other_out(tmp_path):
    def model(*overrides: str) -> tuple[str | None, str | None]:
        found = load(tmp_path, "model: {preset: bert-nano}", *overrides).model
        return found.preset, found.pretrained

    assert model("model.pretrained=null") == ("bert-nano", None)
    assert model("model.pretrained=mine", "model.preset=null") == (None, "mine")
    assert model("model.preset=null", "model.pretrained=mine") == (None, "mine")


def test_a_resolved_configuration_repeats_itself(tmp_path):
    config = load(tmp_path, "", "model.preset=bert-nano", "optimizer.betas=[0.9, 0.95]")
    again = parse_config(yaml.safe_load(config.to_yaml()))
    assert again == config


def test_only_free_keys_may_differ_on_resume():
    old, new = Config().model_dump(mode="json"), Config().model_dump(mode="json")
    new["train"]["max_steps"], new["evaluation"]["every"], new["out"] = 5, 7, "elsewhere"
    assert differing_keys(old, new) == []
    new["optimizer"]["lr"], new["data"]["sequence_length"] = 1.0, 64
    assert differing_keys(old, new) == ["data.sequence_length", "optimizer.lr"]


def test_a_key_that_an_older_version_did_not_write_has_its_default():
    old, new = Config().model_dump(mode="json"), Config().model_dump(mode="json")
    del old["optimizer"]["layer_decay"]
    assert differing_keys(old, new) == []
    new["optimizer"]["layer_decay"] = 0.9
    assert differing_keys(old, new) == ["optimizer.layer_decay"]


class Method:
    def __init__(self, rate: Annotated[float, Field(le=1)] = 0.3, unit: Literal["token", "word"] = "token"):
        pass


def test_options_are_checked_against_a_constructor():
    assert validate_options(Method, {"rate": "0.2"}, "objective") == {"rate": 0.2, "unit": "token"}
    with pytest.raises(UserError, match=re.escape("unknown key objective.rat; did you mean objective.rate?")):
        validate_options(Method, {"rat": 0.2}, "objective")
    with pytest.raises(UserError, match=re.escape("objective.unit: input should be 'token' or 'word' (got 'x')")):
        validate_options(Method, {"unit": "x"}, "objective")
    with pytest.raises(UserError, match=r"objective\.rate: input should be less than or equal to 1"):
        validate_options(Method, {"rate": 2}, "objective")
    with pytest.raises(UserError, match=r"objective\.rate: input should be a finite number \(got nan\)"):
        validate_options(Method, {"rate": float("nan")}, "objective")


@pytest.mark.parametrize(
    "name",
    [
        "mlm",
        "clm",
        "simcse",
        "crops",
        "moco",
        "pairs",
        "barlow",
        "vicreg",
        "whitening",
        "sigreg",
        "swav",
        "deepcluster",
        "cpc",
        "order",
        "classification",
        "regression",
    ],
)
def test_numbers_of_an_objective_are_finite_and_of_64_bits(name):
    hints = options_model(find_objective(name)).model_fields
    floats = [key for key, hint in hints.items() if hint.annotation is float]
    integers = [key for key, hint in hints.items() if hint.annotation is int]
    assert floats or name == "clm"
    for key, value, message in [
        *((key, value, "finite number") for key in floats for value in (math.inf, math.nan)),
        *((key, 2**63, "integers must be|less than") for key in integers),
    ]:
        with pytest.raises(UserError, match=rf"objective\.{key}: .*({message})"):
            resolve_objective({"name": name, key: value})


@pytest.mark.parametrize("seed", [-1, 2**63, 10**400])
def test_seeds_of_commands_have_a_range(seed, tmp_path):
    with pytest.raises(UserError, match=r"seed is -?\d+(\.\.\.)?, it must be from 0 to 9223372036854775807"):
        generate(tmp_path, "text", seed=seed)
    with pytest.raises(UserError, match=r"seed is -?\d+(\.\.\.)?, it must be from 0 to 9223372036854775807"):
        mine(tmp_path, tmp_path / "out.jsonl", pairs="x.csv", seed=seed)


@pytest.mark.parametrize(
    "override",
    [
        "seed=true",
        "seed=no",
        "train.max_steps=on",
        "optimizer.lr=yes",
        "optimizer.betas=[true, 0.9]",
        "train.workers=off",
    ],
)
def test_truth_values_are_no_numbers(tmp_path, override):
    with pytest.raises(UserError, match=r"true and false \(yes, no, on, off\) are no numbers"):
        load(tmp_path, "{}", override)
    assert load(tmp_path, "{}", "train.compile=on").train.compile is True


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = load(tmp_path, "data: {corpus: [{path: ~/c}]}", "out=~/runs/a", "tokenizer=~/t", "data.pairs=a~b")
    assert (config.out, config.tokenizer, config.data.pairs) == ("/home/me/runs/a", "/home/me/t", "a~b")
    assert config.data.corpus[0].path == "/home/me/c"
    for override in ("out=~nosuchuser/x", "data.corpus=~nosuchuser/x", "model.pretrained=~nosuchuser"):
        with pytest.raises(UserError, match=rf"the override {override}: .*there is no user of that name"):
            load(tmp_path, "{}", override)


def test_a_path_of_an_override_is_text_still(tmp_path):
    assert load(tmp_path, "{}", "tokenizer=a #1", "data.held_out=[x]").tokenizer == "a #1"


def test_more_workers_than_any_machine_runs(tmp_path):
    with pytest.raises(UserError, match=r"train\.workers: .*less than or equal to 1024"):
        load(tmp_path, "{}", "train.workers=100000")


@pytest.mark.parametrize(
    "overrides, expected",
    [
        (["objective.name=clm"], {"name": "clm"}),
        (["objective.name=mlm"], {"name": "mlm", "mask_rate": 0.4, "view": {"name": "crops", "max_tokens": 9}}),
        (["objective.temperature=0.1", "objective.name=simcse"], {"name": "simcse", "temperature": 0.1}),
        (
            ["objective.view.rate=0.5", "objective.view.name=deletion"],
            {"name": "mlm", "mask_rate": 0.4, "view": {"name": "deletion", "rate": 0.5}},
        ),
        (
            ["objective.view.name=deletion", "objective.view.rate=0.5"],
            {"name": "mlm", "mask_rate": 0.4, "view": {"name": "deletion", "rate": 0.5}},
        ),
    ],
)
def test_another_objective_or_view_takes_out_the_options_of_the_former(tmp_path, overrides, expected):
    text = "objective: {name: mlm, mask_rate: 0.4, view: {name: crops, max_tokens: 9}}"
    assert load(tmp_path, text, *overrides).objective == expected


def test_processes_of_a_run_may_have_their_files_elsewhere_and_nothing_else():
    def shared(**changes: Any) -> dict[str, Any]:
        values = {"data": {"corpus": "/a"}, "tokenizer": "/a/words", "evaluation": {"suite": "/a/suite.yaml"}} | changes
        return shared_values(parse_config(values).model_dump(mode="json"))

    first = shared()
    elsewhere = {"data": {"corpus": "/b"}, "tokenizer": "/b/words", "evaluation": {"suite": "/b/suite.yaml"}}
    assert shared(**elsewhere, train={"threads": 2, "workers": 1}, out="/b/run") == first
    for key, other in {
        "optimizer.lr": {"optimizer": {"lr": 0.5}},
        "tokenizer": {"tokenizer": None},
        "data.corpus": {"data": {"corpus": [{"path": "/a"}, {"path": "/b"}]}},
        "evaluation.every": {"evaluation": {"every": 7, "suite": "/b/suite.yaml"}},
    }.items():
        own = shared(**other)
        assert [name for name in first if first[name] != own[name]] == [key]
