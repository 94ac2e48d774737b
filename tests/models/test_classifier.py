"""Stock classifiers on ragged batches: equal to transformers' own call, whatever stands in the batch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.evaluation.folders import save_model
from tests.models.test_sentence import shaken
from tests.tiny import texts, tiny_tokenizer
from textssl import tokenizer
from textssl.batch import stack_examples
from textssl.data.batches.labelled_examples import encode_examples
from textssl.data.labelled.labelled_set import Labeled
from textssl.errors import UserError
from textssl.models.classifier import TextClassifier, build_classifier, output_layer
from textssl.sample_types import Example, LabelFacts, ScoreUnit
from textssl.sections import ModelConfig

FAMILIES = ["bert", "modernbert", "llama", "gpt2"]
FACTS = LabelFacts(("a", "b", "c"), (3, 3, 3))
LENGTH = 40


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {family: save_model(root / family, family) for family in FAMILIES}


def classifier(folder, facts: LabelFacts = FACTS, **options) -> TextClassifier:
    spec = ModelConfig(pretrained=str(folder), **options)
    words = AutoTokenizer.from_pretrained(folder)
    return build_classifier(spec, words, facts, sequence_length=LENGTH, seed=0).eval()


def head(backbone: TextClassifier) -> nn.Linear:
    layer = output_layer(backbone.model, 3)
    assert layer is not None
    return layer


def examples(folder, *, pairs: bool = False) -> list[Example]:
    first = [text[: 30 * place] for place, text in enumerate(texts()[:6], start=1)]
    labeled = Labeled("set", first, list("abcabc"), first[::-1] if pairs else None)
    return encode_examples(labeled, AutoTokenizer.from_pretrained(folder), LENGTH, FACTS)[0]


@pytest.mark.slow
def test_accelerates_settings_of_fsdp_leave_no_weight_out(folders, monkeypatch):
    """By them transformers leaves what a folder lacks without values on the ranks after the first one of a host."""
    for name in ("ACCELERATE_USE_FSDP", "FSDP_CPU_RAM_EFFICIENT_LOADING"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("LOCAL_RANK", "1")
    dist.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        loaded = classifier(folders["bert"])
    finally:
        dist.destroy_process_group()
    expected = dict(classifier(folders["bert"]).named_parameters())
    assert all(torch.equal(value, expected[name]) for name, value in loaded.named_parameters())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pairs", [False, True])
@torch.no_grad()
def test_a_batch_is_what_each_text_is_alone_and_what_transformers_says(family, pairs, folders, tmp_path):
    backbone, items = shaken(classifier(folders[family])), examples(folders[family], pairs=pairs)
    together = backbone(stack_examples(range(6), items))
    assert together.shape == (6, 3) and together.std(0).min() > 1e-2
    for place, one in enumerate(items):
        torch.testing.assert_close(backbone(stack_examples([0], [one]))[0], together[place], atol=1e-5, rtol=0)
    words = AutoTokenizer.from_pretrained(folders[family])
    backbone.export(tmp_path / "model", words)
    stock = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    stock_words = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert stock_words.model_max_length == LENGTH and stock.config.id2label == {0: "a", 1: "b", 2: "c"}
    first = [text[: 30 * place] for place, text in enumerate(texts()[:6], start=1)]
    batch = stock_words(
        *([first, first[::-1]] if pairs else [first]), truncation=True, padding=True, return_tensors="pt"
    )
    assert ("token_type_ids" in batch) == backbone.takes_types
    torch.testing.assert_close(stock(**batch).logits, together, atol=1e-5, rtol=0)


@torch.no_grad()
def test_types_and_padding_reach_the_model(folders):
    backbone, items = shaken(classifier(folders["bert"])), examples(folders["bert"], pairs=True)
    backbone.takes_types = True
    typed = backbone(stack_examples(range(6), items))
    ids = torch.full((6, LENGTH), 0)
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, one in enumerate(items):
        ids[row, : len(one.ids)], mask[row, : len(one.ids)] = torch.from_numpy(one.ids), 1
        types[row, : len(one.ids)] = torch.from_numpy(one.types)
    expected = backbone.model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
    torch.testing.assert_close(typed, expected, atol=1e-5, rtol=0)
    backbone.takes_types = False
    assert (backbone(stack_examples(range(6), items)) - typed).abs().max() > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_batch_gives_every_parameter_a_gradient_of_zero(family, folders):
    backbone = classifier(folders[family])
    logits = backbone(stack_examples([], []))
    assert logits.shape == (0, 3)
    logits.sum().backward()
    whole = classifier(folders[family])
    whole(stack_examples(range(6), examples(folders[family]))).sum().backward()
    for (name, empty), full in zip(backbone.named_parameters(), whole.parameters(), strict=True):
        assert (empty.grad is None) == (full.grad is None), name
        assert empty.grad is None or not empty.grad.any(), name
    assert sum(parameter.grad is not None for parameter in backbone.parameters()) > 10


def test_backbone_weights_that_are_missing_stop(folders, tmp_path):
    folder = save_model(tmp_path / "bert", "bert")
    weights = load_file(folder / "model.safetensors")
    gone = [name for name in weights if "layer.1.output.dense.weight" in name]
    save_file({name: value for name, value in weights.items() if name not in gone}, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"does not fit its config\.json: 1 weights of the backbone .*layer\.1\.output"):
        classifier(folder)
    name = next(name for name in weights if name.endswith("word_embeddings.weight"))
    save_file(weights | {name: weights[name][:-7].clone()}, folder / "model.safetensors")
    with pytest.raises(
        UserError, match=r"weights of the backbone are missing or have another shape, .*word_embeddings"
    ):
        classifier(folder)


def test_the_backbone_is_the_folders_and_the_head_is_of_the_seed(folders):
    spec, words = ModelConfig(pretrained=str(folders["bert"])), AutoTokenizer.from_pretrained(folders["bert"])
    one, same, other = (
        build_classifier(spec, words, FACTS, sequence_length=LENGTH, seed=seed).state_dict() for seed in (0, 0, 1)
    )
    found = load_file(folders["bert"] / "model.safetensors")
    for name in one:
        assert torch.equal(one[name], same[name]), name
        stored = found.get(name.removeprefix("model."))
        if stored is not None:
            assert torch.equal(one[name], stored), name
    assert not torch.equal(one["model.classifier.weight"], other["model.classifier.weight"])


@pytest.mark.parametrize("family", FAMILIES)
def test_another_classifier_goes_on_with_the_same_classes_and_starts_anew_with_others(family, folders, tmp_path):
    first, words = shaken(classifier(folders[family])), AutoTokenizer.from_pretrained(folders[family])
    folder = first.export(tmp_path / "model", words)
    learned = head(first)
    same = classifier(folder)
    assert torch.equal(head(same).weight, learned.weight)
    other, again = (classifier(folder, LabelFacts(names, (3, 3, 3))) for names in (tuple("xyz"), tuple("xyz")))
    fresh = head(other)
    assert (fresh.weight - learned.weight).abs().max() > 1e-2 and fresh.weight.std() < 0.03
    assert fresh.bias is None or not fresh.bias.any()
    assert torch.equal(fresh.weight, head(again).weight), "of the seed"
    backbones = other.model.base_model.named_parameters(), first.model.base_model.parameters()
    for (name, one), two in zip(*backbones, strict=True):
        assert torch.equal(one, two), name


def scores_of(backbone: TextClassifier, folder) -> Tensor:
    return backbone(stack_examples(range(6), examples(folder)))[:, 0].double()


def stock_scores(folder) -> Tensor:
    stock = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = [torch.from_numpy(one.ids)[None] for one in examples(folder)]
    return torch.cat([stock(input_ids=one).logits[:, 0] for one in ids]).double()


SCORES = LabelFacts(mean=30.0, deviation=4.0)


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_regressor_is_exported_in_raw_units_and_trains_on_unchanged(family, folders, tmp_path):
    backbone = shaken(classifier(folders[family], SCORES))
    assert backbone.unit == ScoreUnit(0.0 if family == "llama" else 30.0, 4.0)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    live = backbone.unit.raw(scores_of(backbone, folders[family]))
    assert live.std() > 0.1 * 4
    folder = backbone.export(tmp_path / "scored", AutoTokenizer.from_pretrained(folders[family]))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    torch.testing.assert_close(stock_scores(folder), live, atol=1e-5 * 4, rtol=0)
    with backbone.as_exported():
        torch.testing.assert_close(scores_of(backbone, folders[family]), live, atol=1e-5 * 4, rtol=0)
        assert backbone.unit == ScoreUnit()
    assert backbone.model.config.problem_type == "regression" and backbone.model.config.num_labels == 1


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_regressor_goes_on_in_the_unit_of_the_new_scores(family, folders, tmp_path):
    first = shaken(classifier(folders[family], SCORES))
    raw = first.unit.raw(scores_of(first, folders[family]))
    folder = first.export(tmp_path / "scored", AutoTokenizer.from_pretrained(folders[family]))
    on = classifier(folder, LabelFacts(mean=-2.0, deviation=0.5))
    mean = 0.0 if family == "llama" else -2.0
    torch.testing.assert_close(scores_of(on, folder), (raw - mean) / 0.5, atol=1e-4, rtol=1e-5)
    on.export(tmp_path / "again", AutoTokenizer.from_pretrained(folder))
    torch.testing.assert_close(stock_scores(tmp_path / "again"), raw, atol=1e-4, rtol=0)
    spec = ModelConfig(pretrained=str(folder), reinitialise=True)
    words = AutoTokenizer.from_pretrained(folder)
    anew = build_classifier(spec, words, LabelFacts(mean=9.0, deviation=5.0), sequence_length=LENGTH, seed=0).eval()
    assert scores_of(anew, folder).abs().max() < 2, "a new head starts near the mean"


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_regressor_starts_at_the_mean(family, folders, tmp_path):
    backbone = classifier(folders[family], LabelFacts(mean=3.25, deviation=2.0))
    layer = output_layer(backbone.model, 1)
    assert layer is not None and layer.bias is not None and layer.bias.item() == 0
    with torch.no_grad():
        layer.weight.zero_()
        folder = backbone.export(tmp_path / "scored", AutoTokenizer.from_pretrained(folders[family]))
        assert stock_scores(folder).tolist() == [3.25] * 6


@pytest.mark.parametrize("family", FAMILIES)
def test_autocast_spares_the_output_layer_of_a_regressor_alone(family, folders):
    batch = stack_examples(range(6), examples(folders[family]))
    with torch.autocast("cpu", torch.bfloat16):
        assert classifier(folders[family])(batch).dtype == torch.bfloat16
        scores = shaken(classifier(folders[family], SCORES))(batch)
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())


def test_flash_attention_is_put_aside_for_float32(folders, monkeypatch):
    backbone = classifier(folders["bert"])
    backbone.model.config._attn_implementation = "flash_attention_2"
    with backbone.as_exported():
        assert backbone.model.config._attn_implementation == "sdpa"
        put_back = partial(setattr, backbone.model.config, "_attn_implementation")
        monkeypatch.setattr(backbone.model, "set_attn_implementation", put_back)  # the package need not be there
    assert backbone.model.config._attn_implementation == "flash_attention_2"


def test_modernbert_reads_the_mean_of_the_tokens_unless_it_was_a_classifier(folders, tmp_path):
    backbone = classifier(folders["modernbert"])
    assert backbone.model.config.classifier_pooling == "mean"
    backbone.model.config.classifier_pooling = "cls"
    backbone.export(tmp_path / "model", AutoTokenizer.from_pretrained(folders["modernbert"]))
    assert classifier(tmp_path / "model").model.config.classifier_pooling == "cls"


def test_frozen_layers_and_new_ones(folders):
    backbone = classifier(folders["bert"], frozen_layers=1)
    learning = {name for name, parameter in backbone.named_parameters() if parameter.requires_grad}
    assert not any(".layer.0." in name or "embeddings" in name for name in learning)
    assert any(".layer.1." in name for name in learning) and "model.classifier.weight" in learning


def test_an_export_replaces_what_was_there(folders, tmp_path):
    words = tokenizer.for_causal(tiny_tokenizer())
    backbone = classifier(folders["gpt2"])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").write_text("old")
    backbone.export(tmp_path / "model", words)
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and not (tmp_path / "model" / "old").exists()
    assert AutoTokenizer.from_pretrained(tmp_path / "model").pad_token is not None
