from __future__ import annotations

import json
import logging
import math
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.small import VOCABULARY, make_rows, small_model, word_tokenizer
from textssl.errors import UserError
from textssl.models import build
from textssl.models.build import build_model, count_parameters, describe
from textssl.models.configuration import (
    DROPOUTS,
    Pretext,
    checked_config,
    position_capacity,
    preset_config,
    read_pretext,
    set_dropout,
    write_pretext,
)
from textssl.models.heads import LanguageModel
from textssl.models.presets import PRESETS
from textssl.models.seq2seq.model import build_seq2seq
from textssl.models.seq2seq.pairs import RowPairs
from textssl.sections import ModelConfig

NANO = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
FAMILIES = {
    "modernbert": ("nano", "micro", "mini", "small", "base"),
    "llama": ("nano", "micro", "mini", "small", "base"),
    "bert": ("nano", "micro", "mini", "small"),
    "gpt2": ("nano", "micro", "mini", "small"),
}
ENCODER_DECODERS = {family: ("nano", "micro", "mini", "small", "base") for family in ("t5", "bart")}


def make(causal: bool | None = False, sequence_length=16, seed=0, **spec: Any):
    return build_model(ModelConfig(**spec), word_tokenizer(), causal=causal, sequence_length=sequence_length, seed=seed)


def test_preset_names():
    families = {**FAMILIES, **ENCODER_DECODERS}
    assert set(PRESETS) == {f"{family}-{size}" for family, sizes in families.items() for size in sizes}


@pytest.mark.parametrize("name", [f"{family}-{size}" for family, sizes in ENCODER_DECODERS.items() for size in sizes])
def test_encoder_decoders_have_as_many_layers_on_either_side(name):
    config = preset_config(name)
    decoder = config.num_decoder_layers if name.startswith("t5") else config.decoder_layers
    assert config.is_encoder_decoder and decoder == config.num_hidden_layers


@pytest.mark.parametrize("name", ["bart-nano", "t5-nano"])
def test_fresh_encoder_decoders_start_from_the_uniform_loss(name):
    """With T5's own embeddings (standard deviation 1) each state would still point to the token that is read."""
    model = build_seq2seq(ModelConfig(preset=name), word_tokenizer(), sequence_length=16, seed=0).eval()
    rows = make_rows([[16]] * 8, 16)
    with torch.no_grad():
        hidden, _ = model(RowPairs(rows, rows, rows.samples, rows.samples, rows.samples))
        loss = model.cross_entropy(hidden.flatten(0, 1), rows.labels.flatten()) / rows.labels.numel()
    assert abs(float(loss) - math.log(VOCABULARY + 100)) < 0.4


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_shape_of_their_name(name):
    with torch.device("meta"):
        config = preset_config(name)
    layers, width = {"nano": (4, 256), "micro": (6, 384), "mini": (8, 512), "small": (10, 640)}.get(
        name.split("-")[1], (22 if name.startswith("modernbert") else 12, 768)
    )
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (layers, width, width // 64)
    assert all(getattr(config, field) == 0 for field in DROPOUTS if hasattr(config, field))
    assert config.tie_word_embeddings


@pytest.mark.parametrize(("name", "millions"), [("modernbert-base", 149), ("llama-base", 124)])
def test_base_presets_have_the_published_size(name, millions):
    config = preset_config(name)
    config.vocab_size = 50368
    factory = build.AutoModelForCausalLM if name.startswith("llama") else build.AutoModelForMaskedLM
    with torch.device("meta"):
        model = factory.from_config(config)
    model.tie_weights()
    assert abs(count_parameters(model) / 1e6 - millions) < 1


@pytest.mark.parametrize("name", [f"{family}-nano" for family in FAMILIES])
def test_a_fresh_model_starts_from_the_uniform_loss(name):
    model = make(preset=name, causal=name.startswith(("llama", "gpt2")))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert describe(model)["parameters"] == count_parameters(model)
    batch = make_rows([[16]], 16)
    language_model = LanguageModel(model.eval())
    loss = language_model.cross_entropy(language_model(batch)[0], batch.labels[0]) / 16
    assert abs(loss.item() - torch.tensor(float(VOCABULARY)).log().item()) < 0.3


def test_seed_gives_the_weights_and_leaves_the_global_generator():
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first, second, other = (make(config={"model_type": "bert", **NANO}, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), state)
    for (key, a), b, c in zip(first.named_parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), key
        assert a.dim() == 1 or not torch.equal(a, c), key


def test_vocabulary_and_special_ids_come_from_the_tokenizer():
    tokenizer = word_tokenizer()
    for model_type, causal in (("bert", False), ("modernbert", False), ("llama", True)):
        config = make(causal=causal, config={"model_type": model_type, **NANO}).config
        assert config.vocab_size == VOCABULARY
        assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 2, 3)
        assert config.pad_token_id == tokenizer.pad_token_id
    assert make(config={"model_type": "bert", "vocab_size": 64, **NANO}).config.vocab_size == 64


def test_positions_hold_a_row():
    assert make(preset="bert-nano", sequence_length=700).config.max_position_embeddings == 700
    assert make(preset="bert-nano", sequence_length=128).config.max_position_embeddings == 512
    roberta = make(config={"model_type": "roberta", **NANO}, sequence_length=600)
    assert position_capacity(roberta.config) == 600
    LanguageModel(roberta)(make_rows([[600]], 600))


@pytest.mark.parametrize("family", ["data2vec-text", "mpnet", "roberta-prelayernorm"])
def test_positions_behind_the_padding_id_hold_a_row(family):
    made = make(config={"model_type": family, **NANO}, sequence_length=600)
    assert position_capacity(made.config) == 600
    model = made.base_model
    model(input_ids=make_rows([[600]], 600).ids)
    with pytest.raises((IndexError, RuntimeError)):  # capacity is exact: one more has no position
        model(input_ids=make_rows([[601]], 601).ids)


def test_relative_positions_have_no_limit():
    xlnet = {"model_type": "xlnet", "d_model": 32, "n_layer": 1, "n_head": 2, "d_inner": 32}
    assert position_capacity(make(causal=None, config=xlnet, sequence_length=600).config) is None


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize(
    "name", ["modernbert-nano", "bert-nano", "llama-nano", "gpt2-nano", "bart-nano", "gpt_neo", "starcoder2"]
)
def test_dropout_reaches_every_field(name, dropout):
    config = preset_config(name) if name in PRESETS else checked_config({"model_type": name}, "model.config")
    set_dropout(config, dropout)
    body = {k: v for k, v in config.to_dict().items() if ("dropout" in k or "pdrop" in k)}
    body = {k: v for k, v in body.items() if not k.startswith(("classifier", "summary"))}
    assert body and set(body.values()) == {dropout}


def test_dropout_of_a_configuration_stays_unless_set():
    assert make(config={"model_type": "bert", **NANO}).config.hidden_dropout_prob == 0.1
    assert make(config={"model_type": "bert", **NANO}, dropout=0.0).config.hidden_dropout_prob == 0.0


MISTAKES = {
    "preset": ({"preset": "modernbert-nan"}, False, "did you mean modernbert-nano"),
    "type": ({"config": {"model_type": "brt"}}, False, "unknown model.config.model_type 'brt'; did you mean bert"),
    "no type": ({"config": {"hidden_size": 32}}, False, "model.config.model_type is missing"),
    "field": ({"config": {"model_type": "bert", "hiden_size": 3}}, False, "did you mean model.config.hidden_size"),
    "value": ({"config": {"model_type": "bert", "hidden_size": "big"}}, False, "hidden_size"),
    "heads": ({"config": {"model_type": "llama", **NANO, "num_attention_heads": 5}}, True, "multiple"),
    "bert heads": ({"config": {"model_type": "bert", **NANO, "num_attention_heads": 5}}, False, "cannot be built"),
    "not causal": ({"preset": "bert-nano"}, True, "reads both sides of a token"),
    "not masked": ({"preset": "llama-nano"}, False, "has no masked language model"),
    "vocabulary": ({"config": {"model_type": "bert", "vocab_size": 9, **NANO}}, False, "the tokenizer has 48 tokens"),
    "pad": ({"config": {"model_type": "bert", "pad_token_id": 9, **NANO}}, False, "pad_token_id is 9, but the token"),
    "positions": ({"config": {"model_type": "bert", "max_position_embeddings": 8, **NANO}}, False, "for 8 tokens"),
    "n_positions": ({"config": {"model_type": "gpt2", "n_positions": 8}}, True, "for 8 tokens"),
    "attention": ({"preset": "bert-nano", "attention": "flash_attention_2"}, False, "flash_attention_2 cannot be used"),
    "folder": ({"pretrained": "/nowhere/model"}, False, "/nowhere/model is not a folder"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_name_the_key(name):
    spec, causal, message = MISTAKES[name]
    with pytest.raises(UserError, match=message) as error:
        make(causal=causal, **spec)
    assert "\n" not in str(error.value)


@pytest.fixture
def saved(tmp_path):
    """A folder with a small BERT, exported as a run would."""
    return LanguageModel(small_model("bert")).export(tmp_path / "model", word_tokenizer())


def edit(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_pretrained_gives_the_saved_weights(saved, caplog):
    model, original = make(pretrained=str(saved)), small_model("bert")
    assert model.training and not caplog.records
    for found, expected in zip(model.parameters(), original.parameters(), strict=True):
        assert torch.equal(found, expected)
    assert str(saved.parent) not in json.dumps(model.config.to_dict())
    again = LanguageModel(model).export(saved.parent / "again", word_tokenizer())
    assert str(saved.parent) not in (again / "config.json").read_text()
    assert (again / "model.safetensors").read_bytes() == (saved / "model.safetensors").read_bytes()


def test_pretrained_without_a_head_says_so(saved, caplog):
    edit(saved, lambda weights: [weights.pop(key) for key in list(weights) if key.startswith("cls.")])
    with caplog.at_level(logging.WARNING, logger=build.__name__):
        first, second = make(pretrained=str(saved), seed=1), make(pretrained=str(saved), seed=1)
    assert "has no language model head" in caplog.text and "cls.predictions.transform.dense.weight" in caplog.text
    head = "cls.predictions.transform.dense.weight"
    assert torch.equal(first.get_parameter(head), second.get_parameter(head))
    other = make(pretrained=str(saved), seed=2)
    assert not torch.equal(first.get_parameter(head), other.get_parameter(head))


def test_pretrained_with_a_backbone_of_other_keys_is_refused(saved):
    edit(saved, lambda weights: weights.pop("bert.encoder.layer.1.output.dense.weight"))
    with pytest.raises(UserError, match=r"1 weights of the backbone .* bert.encoder.layer.1.output.dense.weight"):
        make(pretrained=str(saved))


def test_pretrained_with_another_shape_is_refused(saved):
    edit(saved, lambda weights: weights.update({"bert.encoder.layer.1.output.dense.weight": torch.zeros(32, 8)}))
    with pytest.raises(UserError, match=r"cannot be loaded|another shape"):
        make(pretrained=str(saved))


def test_pretrained_with_broken_weights_is_refused(saved):
    whole = (saved / "model.safetensors").read_bytes()
    for part in (whole[:100], whole[:-50], b""):
        (saved / "model.safetensors").write_bytes(part)
        with pytest.raises(UserError, match=r"the weights in .* cannot be loaded"):
            make(pretrained=str(saved))


def test_pretrained_folder_must_hold_a_model(saved):
    for name in ("model.safetensors", "config.json"):
        (saved / name).unlink()
        with pytest.raises(UserError, match=r"cannot be loaded|has no config.json"):
            make(pretrained=str(saved))


def test_pretrained_limits(saved, monkeypatch):
    with pytest.raises(UserError, match=r"has positions for 512 tokens, but data.sequence_length is 513"):
        make(pretrained=str(saved), sequence_length=513)
    with pytest.raises(UserError, match="reads both sides"):
        make(pretrained=str(saved), causal=True)
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["extra"])
    with pytest.raises(UserError, match=r"the tokenizer has 49 tokens, but .* has embeddings for 48"):
        build_model(
            ModelConfig.model_validate({"pretrained": str(saved)}), tokenizer, causal=False, sequence_length=16, seed=0
        )


@pytest.mark.parametrize("reinitialise", [False, True])
def test_what_another_objective_says_of_its_weights_is_not_kept(tmp_path, reinitialise):
    before = LanguageModel(small_model("bert"))
    write_pretext(before.model.config, Pretext("hybrid", 1))
    folder = before.export(tmp_path / "m", word_tokenizer())
    assert read_pretext(make(pretrained=str(folder), reinitialise=reinitialise).config) is None


def test_pretrained_rotary_positions_grow(tmp_path):
    folder = LanguageModel(small_model("modernbert", max_position_embeddings=32)).export(
        tmp_path / "m", word_tokenizer()
    )
    model = make(pretrained=str(folder), sequence_length=100)
    assert model.config.max_position_embeddings == 100
    hidden = LanguageModel(model)(make_rows([[100]], 100))
    assert torch.isfinite(hidden).all()


def test_a_family_that_is_no_name():
    with pytest.raises(UserError, match=r"unknown model\.config\.model_type \[1\]"):
        build_model(ModelConfig(config={"model_type": [1]}), word_tokenizer(), causal=False, sequence_length=8, seed=0)


@pytest.mark.parametrize("fields", [{"hidden_size": 0}, {"hidden_size": 2**40}])
def test_sizes_that_make_no_model(fields):
    spec = ModelConfig(config={"model_type": "bert", "num_attention_heads": 1, "num_hidden_layers": 1, **fields})
    with pytest.raises(UserError, match=r"^the model cannot be built: "):
        build_model(spec, word_tokenizer(), causal=False, sequence_length=8, seed=0)
