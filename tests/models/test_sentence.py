"""Sentence models: what is trained is what is exported, and training goes on from any folder of ours."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense
from transformers import AutoModel, AutoTokenizer

from tests.models.small import CONFIGS, FOUR
from tests.tiny import texts, tiny_tokenizer
from textssl.batch import Texts, empty_like
from textssl.data.batches.batching import Limits, TextDealing
from textssl.errors import UserError
from textssl.models.build import build_model
from textssl.models.configuration import position_capacity
from textssl.models.heads import LanguageModel
from textssl.models.sentence import SentenceModel, build_sentence_model
from textssl.sample_types import RowFormat, Views
from textssl.sections import ModelConfig
from textssl.tokenizer.vocabulary import Vocabulary

LENGTH = 48  # tokens of a row, which no export may take for the model's limit
POOLINGS = ("mean", "cls", "lasttoken", "weightedmean", "max")


def sentences() -> list[str]:
    """Real text, from one word to some 40 tokens."""
    found = [text[: 10 * place + 3] for place, text in enumerate(texts()[:8])]
    return [*found, "Hello", "Two words, ein Wort: größer."]


def spec_of(name: str, **options: Any) -> ModelConfig:
    return ModelConfig(config={"model_type": name, **CONFIGS[name]}, dropout=0.0, **options)


def build(spec: ModelConfig, head: bool | None = None, seed: int = 0) -> Any:
    return build_sentence_model(spec, tiny_tokenizer(), head=head, sequence_length=LENGTH, seed=seed).eval()


def shaken(model: Any) -> Any:
    """The same model with larger weights, so that a wrong place, mask or pooling shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.dim() > 1 else 0.1
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    return model


def batch_of(model: SentenceModel, written: list[str]) -> Texts:
    """The texts as a corpus gives them to an objective: one micro-batch in their order."""
    words = tiny_tokenizer()
    vocabulary = Vocabulary.of(words)
    form = RowFormat() if model.static else RowFormat(vocabulary.prefix, vocabulary.suffix)
    ids = words(written, add_special_tokens=False)["input_ids"]
    views = [Views([np.array(one)], source=place) for place, one in enumerate(ids)]
    (batch,) = TextDealing(form, 10_000, Limits(slack=0.0)).deal(views)
    order = torch.argsort(batch.samples)
    pieces = batch.ids.split(batch.lengths.tolist())
    sorted_ids = torch.cat([pieces[at] for at in order])
    fields = (batch.lengths, batch.samples, batch.targets, batch.text, batch.source)
    return Texts(sorted_ids, *(field[order] for field in fields))


@torch.no_grad()
def live(model: SentenceModel) -> np.ndarray:
    return model(batch_of(model, sentences())).float().numpy()


def loaded(path) -> SentenceTransformer:
    return SentenceTransformer(str(path), device="cpu", local_files_only=True)


def encode(path) -> np.ndarray:
    return loaded(path).encode(sentences(), show_progress_bar=False, batch_size=4)


def check_export(model: SentenceModel, path) -> None:
    model.export(path, tiny_tokenizer())
    kinds = [module["type"] for module in json.loads((path / "modules.json").read_text())]
    assert all(kind.startswith("sentence_transformers.") for kind in kinds)
    expected = live(model)
    assert np.abs(encode(path) - expected).max() < 1e-5 * max(1.0, np.abs(expected).max())
    assert np.abs(expected - expected[0]).max() > 0.05
    assert "/tmp" not in (path / "modules.json").read_text()


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_a_tokenizer_that_pads_on_the_left_gives_the_vectors_that_were_trained(name, tmp_path):
    tiny_tokenizer().save_pretrained(tmp_path / "words")
    file = tmp_path / "words" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left"}))
    words = AutoTokenizer.from_pretrained(tmp_path / "words")
    assert words.padding_side == "left"
    model = shaken(build(spec_of(name)))
    model.export(tmp_path / "model", words)
    written = sentences()[:5]
    vectors = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(written)
    alone = [SentenceTransformer(str(tmp_path / "model"), device="cpu").encode([text])[0] for text in written]
    np.testing.assert_allclose(vectors, alone, atol=1e-5)


@pytest.mark.parametrize("attention", ["varlen", "eager", "dense"])
def test_how_attention_was_computed_is_not_exported(attention, tmp_path):
    model = build(spec_of("bert", attention=attention))
    check_export(model, tmp_path / "model")
    spec = spec_of("bert", attention=attention)
    model = build_model(spec, tiny_tokenizer(), causal=False, sequence_length=LENGTH, seed=0)
    LanguageModel(model).export(tmp_path / "language", tiny_tokenizer())
    for folder in ("model", "language"):
        assert attention not in (tmp_path / folder / "config.json").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUR)
def test_the_exported_folder_gives_the_vectors_that_were_trained(name, tmp_path):
    model = shaken(build(spec_of(name)))
    check_export(model, tmp_path / "model")
    stock, report = AutoModel.from_pretrained(tmp_path / "model", output_loading_info=True, local_files_only=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    capacity = position_capacity(stock.config)
    assert capacity != LENGTH and loaded(tmp_path / "model").max_seq_length == capacity


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pooling"),
    [("bert", pooling) for pooling in POOLINGS] + [("llama", pooling) for pooling in POOLINGS if pooling != "cls"],
)
def test_every_pooling_is_exported(name, pooling, tmp_path):
    check_export(shaken(build(spec_of(name, pooling=pooling))), tmp_path / "model")


@pytest.mark.parametrize("options", [{"dense_width": 5}, {"normalize": False}, {"dense_width": 40, "normalize": False}])
@pytest.mark.parametrize("name", ["modernbert", "static"])
def test_dense_layers_and_lengths_are_exported(name, options, tmp_path):
    spec = spec_of(name, **options) if name in CONFIGS else static(**options)
    model = shaken(build(spec))
    check_export(model, tmp_path / "model")
    assert model.width == live(model).shape[1] == options.get("dense_width", 32)
    unit = np.linalg.norm(live(model), axis=1)
    assert np.allclose(unit, 1, atol=1e-5) == options.get("normalize", True)


def static(config: dict[str, Any] | None = None, **options: Any) -> ModelConfig:
    return ModelConfig(config={"model_type": "static", "hidden_size": 32, **(config or {})}, **options)


@pytest.mark.parametrize("name", FOUR)
def test_padding_changes_no_vector(name):
    model = shaken(build(spec_of(name)))
    together = live(model)
    with torch.no_grad():
        alone = torch.cat([model(batch_of(model, [text])) for text in sentences()]).numpy()
    assert np.abs(together - alone).max() < 1e-5


@pytest.mark.parametrize("name", [*FOUR, "static"])
def test_no_texts_give_no_vectors_and_gradients_of_zero(name):
    model = build(spec_of(name) if name in CONFIGS else static())
    whole = batch_of(model, sentences())
    empty = empty_like(whole)
    model(whole).sum().backward()
    used = {name for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    found = model(empty)
    assert found.shape == (0, 32)
    found.sum().backward()
    for name, parameter in model.named_parameters():
        if name in used and name != "backbone.log_weights":
            assert parameter.grad is not None and not parameter.grad.any(), name


@pytest.mark.parametrize("name", ["bert", "static"])
def test_the_same_seed_gives_the_same_weights(name):
    spec = spec_of(name, dense_width=5) if name in CONFIGS else static(dense_width=5)
    state = torch.random.get_rng_state()
    first, second, other = (build(spec, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "gpt2", "static"])
def test_training_goes_on_from_an_exported_sentence_encoder(name, tmp_path):
    pooling = {} if name == "static" else {"pooling": "weightedmean"}
    spec = spec_of(name, dense_width=6, normalize=False, **pooling) if name in CONFIGS else static(dense_width=6)
    model = shaken(build(spec))
    model.export(tmp_path / "model", tiny_tokenizer())
    again = build(ModelConfig(pretrained=str(tmp_path / "model")))
    assert np.allclose(live(again), live(model), atol=1e-6)  # its own pooling and dense layer stay
    again.export(tmp_path / "again", tiny_tokenizer())
    assert np.allclose(encode(tmp_path / "again"), live(model), atol=1e-5)
    changed = build(ModelConfig(pretrained=str(tmp_path / "model"), dense_width=7, normalize=True))
    assert changed.width == 7 and np.allclose(np.linalg.norm(live(changed), axis=1), 1, atol=1e-5)
    if name != "static":
        assert loaded(tmp_path / "again").max_seq_length == loaded(tmp_path / "model").max_seq_length
        other = build(ModelConfig(pretrained=str(tmp_path / "model"), pooling="max"))
        assert not np.allclose(live(other), live(model), atol=1e-2)


def test_the_order_and_the_prompts_of_a_folder_are_kept(tmp_path):
    build(spec_of("bert")).export(tmp_path / "model", tiny_tokenizer())
    transformer, pooling, normalize = loaded(tmp_path / "model").children()
    dense = Dense(pooling.get_embedding_dimension(), 5, bias=False)  # type: ignore[operator]
    stock = SentenceTransformer(
        modules=[transformer, pooling, normalize, dense],
        prompts={"query": "query: "},
        similarity_fn_name="dot",
        device="cpu",
    )
    stock.save(str(tmp_path / "other"), create_model_card=False)
    model = build(ModelConfig(pretrained=str(tmp_path / "other")))
    model.export(tmp_path / "again", tiny_tokenizer())
    again = loaded(tmp_path / "again")
    assert [type(module).__name__ for module in again.children()] == ["Transformer", "Pooling", "Normalize", "Dense"]
    assert np.allclose(encode(tmp_path / "again"), encode(tmp_path / "other"), atol=1e-5)
    assert again.prompts["query"] == "query: " and again.similarity_fn_name == "dot"
    stock.default_prompt_name = "query"
    stock.save(str(tmp_path / "prompted"), create_model_card=False)
    with pytest.raises(UserError, match="puts the prompt 'query' before every text"):
        build(ModelConfig(pretrained=str(tmp_path / "prompted")))


@pytest.mark.parametrize("reinitialise", [False, True])
def test_reinitialise_leaves_no_trained_dense_layer(tmp_path, reinitialise):
    trained = shaken(build(spec_of("bert", dense_width=5)))
    trained.export(tmp_path / "model", tiny_tokenizer())
    again = build(ModelConfig(pretrained=str(tmp_path / "model"), reinitialise=reinitialise), seed=3)
    weights = [next(one for one in model.tail if isinstance(one, Dense)).linear.weight for model in (trained, again)]
    assert weights[0].shape == weights[1].shape
    assert bool((weights[0] == weights[1]).any()) != reinitialise


def test_no_folder_says_that_it_reads_more_tokens_than_its_positions_hold(tmp_path):
    model = build(spec_of("roberta", pooling="mean"))
    model.max_seq_length = model.backbone.model.config.max_position_embeddings  # as sentence-transformers reads it
    model.export(tmp_path / "model", tiny_tokenizer())
    stock = loaded(tmp_path / "model")
    assert stock.max_seq_length == position_capacity(model.backbone.model.config)
    stock.encode(["word " * 2000])


def test_the_length_of_a_folder_is_kept_and_may_be_missing(tmp_path):
    build(spec_of("bert")).export(tmp_path / "model", tiny_tokenizer())
    for limit, expected in ((77, 77), (None, 512)):
        file = tmp_path / "model" / "sentence_bert_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "max_seq_length": limit}))
        tokenizer = tmp_path / "model" / "tokenizer_config.json"
        values = json.loads(tokenizer.read_text())
        values["model_max_length"] = limit or int(1e30)
        tokenizer.write_text(json.dumps(values))
        again = build(ModelConfig(pretrained=str(tmp_path / "model")))
        again.export(tmp_path / f"again-{limit}", tiny_tokenizer())
        assert loaded(tmp_path / f"again-{limit}").max_seq_length == expected


@pytest.mark.parametrize("name, causal", [("modernbert", False), ("bert", False), ("llama", True), ("gpt2", True)])
def test_training_goes_on_from_a_language_model(name, causal, tmp_path, caplog):
    words = tiny_tokenizer()
    model: Any = LanguageModel(build_model(spec_of(name), words, causal=causal, sequence_length=LENGTH, seed=3))
    model.export(tmp_path / "lm", words)
    encoder = build(ModelConfig(pretrained=str(tmp_path / "lm")))
    expected = model.backbone.state_dict()
    found = encoder.backbone.backbone.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    check_export(shaken(encoder), tmp_path / "model")
    assert not caplog.records
    with_head = build(ModelConfig(pretrained=str(tmp_path / "lm")), head=causal)
    assert torch.equal(with_head.backbone.output.weight, model.output.weight)


@pytest.mark.parametrize("name, head", [("modernbert", False), ("bert", False), ("llama", True)])
def test_a_head_of_another_objective_is_not_exported(name, head, tmp_path):
    model = shaken(build(spec_of(name), head=head))
    assert model.backbone.output.weight.shape == (512, 32)
    check_export(model, tmp_path / "model")
    _, report = AutoModel.from_pretrained(tmp_path / "model", output_loading_info=True, local_files_only=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]


@pytest.mark.parametrize(
    ("spec", "head", "message"),
    [
        (static(), False, "a static encoder predicts no tokens"),
        (static(pooling="cls"), None, "model.pooling is cls, but a static encoder always takes the mean"),
        (static({"hiden_size": 3}), None, "did you mean model.config.hidden_size"),
        (ModelConfig(preset="static-nanoo"), None, "did you mean static-nano"),
        (ModelConfig(preset="static-nano"), False, "a static encoder predicts no tokens"),
        (spec_of("llama", pooling="cls"), None, "so that the first token is the same for all texts: choose mean"),
        (spec_of("llama"), False, "has no masked language model"),
        (ModelConfig(pretrained="nowhere"), None, "nowhere is not a folder"),
    ],
)
def test_what_does_not_go_together_is_said(spec, head, message):
    with pytest.raises(UserError, match=message):
        build(spec, head=head)


def test_a_folder_of_other_modules_is_refused(tmp_path):
    model = build(static())
    model.export(tmp_path / "model", tiny_tokenizer())
    modules = json.loads((tmp_path / "model" / "modules.json").read_text())
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules[1:]))
    with pytest.raises(UserError, match="is made of Normalize; training goes on from Transformer or StaticEmbedding"):
        build(ModelConfig(pretrained=str(tmp_path / "model")))
    (tmp_path / "model" / "modules.json").write_text("[]broken")
    with pytest.raises(UserError, match="cannot be loaded by sentence-transformers"):
        build(ModelConfig(pretrained=str(tmp_path / "model")))


def test_an_export_replaces_the_one_before_whole(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").write_text("of an earlier export")
    (tmp_path / ".model.partial").mkdir()
    build(static()).export(path, tiny_tokenizer())
    assert not (path / "old").exists() and [p.name for p in tmp_path.iterdir()] == ["model"]
