from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from functorch.compile import (
    make_boxed_func,  # pyright: ignore[reportPrivateImportUsage]
    min_cut_rematerialization_partition,
)
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from transformers import AutoTokenizer

from tests.forked import run
from tests.models.small import CONFIGS, FOUR, MASKED, make_rows, small_model, word_tokenizer
from textssl.batch import empty_like
from textssl.errors import UserError
from textssl.models import heads, layers
from textssl.models.attention import varlen
from textssl.models.heads import TRANSFORMS, LanguageModel
from textssl.sample_types import IGNORE

OTHER = {  # families without an entry in the tables, reached by their full logits and separate documents
    "opt": {
        "hidden_size": 32,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "ffn_dim": 48,
        "word_embed_proj_dim": 32,
    },
    "mpnet": {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 48},
}

POSITIONS = {"gpt2": "n_positions"}


@pytest.fixture
def other_families(monkeypatch):
    for name, config in OTHER.items():
        monkeypatch.setitem(CONFIGS, name, config)
    monkeypatch.setattr("tests.models.small.MASKED", (*MASKED, "mpnet"))


def predicted(language_model, batch):
    chosen = batch.labels != IGNORE
    return language_model(batch)[chosen], batch.labels[chosen]


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_and_loss_equal_the_stock_model(name):
    language_model = LanguageModel(small_model(name))
    assert language_model.supports_partial_logits
    batch = make_rows([[10], [10], [10]], 10)
    hidden = language_model(batch)
    assert hidden.shape == (3, 10, language_model.width)
    with torch.no_grad():
        expected = language_model.model(input_ids=batch.ids).logits
    torch.testing.assert_close(language_model.logits(hidden), expected, atol=1e-5, rtol=1e-5)
    batch.labels[:, ::3] = IGNORE
    found = language_model.cross_entropy(*predicted(language_model, batch))
    stock = F.cross_entropy(expected.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORE, reduction="sum")
    torch.testing.assert_close(found, stock, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("name", FOUR)
def test_gradients_equal_the_stock_model(name):
    batch = make_rows([[10], [10]], 10)
    language_model, stock = LanguageModel(small_model(name)), small_model(name)
    language_model.cross_entropy(*predicted(language_model, batch)).backward()
    logits = stock(input_ids=batch.ids).logits
    F.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), reduction="sum").backward()
    for (key, found), (_, expected) in zip(
        language_model.model.named_parameters(), stock.named_parameters(), strict=True
    ):
        assert (found.grad is None) == (expected.grad is None), key
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_an_empty_micro_batch_gives_zero_and_zero_gradients(name):
    language_model = LanguageModel(small_model(name)).train()
    full = make_rows([[4, 3]], 9)
    batch = empty_like(full)
    hidden = language_model(batch)
    assert hidden.shape == (0, 9, language_model.width)
    loss = language_model.cross_entropy(*predicted(language_model, batch))
    assert loss.shape == () and loss.item() == 0
    loss.backward()
    with_tokens = LanguageModel(small_model(name)).train()
    with_tokens.cross_entropy(*predicted(with_tokens, full)).backward()
    for (key, empty), (_, used) in zip(language_model.named_parameters(), with_tokens.named_parameters(), strict=True):
        assert (empty.grad is None) == (used.grad is None), key  # what DDP waits for must arrive
        assert empty.grad is None or not empty.grad.any(), key


@pytest.mark.parametrize("name", OTHER)
def test_other_families_give_full_logits_and_say_so(name, other_families, caplog):
    with caplog.at_level(logging.WARNING, logger=heads.__name__):
        language_model = LanguageModel(small_model(name, "auto"))
    assert caplog.text.count(f"the {name} family has no entry") == 1
    batch = make_rows([[5, 4], [7]], 9)
    hidden = language_model(batch)
    assert not language_model.supports_partial_logits
    assert hidden.shape == (2, 9, language_model.width)
    with torch.no_grad():
        second = language_model.model(input_ids=batch.ids[:1, 5:9]).logits[0]
    torch.testing.assert_close(language_model.logits(hidden)[0, 5:9], second, atol=1e-4, rtol=1e-4)
    states, labels = predicted(language_model, batch)
    expected = F.cross_entropy(states, labels, reduction="sum")
    torch.testing.assert_close(language_model.cross_entropy(states, labels), expected)
    empty = empty_like(batch)
    language_model.cross_entropy(*predicted(language_model, empty)).backward()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "albert"])
def test_gradient_checkpointing_changes_nothing(name):
    batch = make_rows([[6, 4], [9]], 10)
    gradients, calls = [], []
    for checkpointing in (False, True):
        language_model = LanguageModel(small_model(name)).train()
        if checkpointing:
            language_model.checkpoint_gradients()
        for part in language_model.modules():
            part.register_forward_hook(lambda *_, checkpointing=checkpointing: calls.append(checkpointing))
        language_model.cross_entropy(*predicted(language_model, batch)).backward()
        gradients.append([p.grad for p in language_model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed, atol=1e-5, rtol=1e-5)
    assert calls.count(True) > 1.5 * calls.count(False)  # the layers ran again in the backward


def test_a_family_that_cannot_recompute_activations_is_refused():
    with pytest.raises(UserError, match=r"gradient_checkpointing=true: .* the albert family"):
        LanguageModel(small_model("albert")).checkpoint_gradients()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["modernbert", "llama"])
def test_compile_touches_the_backbone_alone(name):
    language_model = LanguageModel(small_model(name))
    batch = make_rows([[6, 4], [9]], 10)
    expected = language_model(batch)
    names = list(language_model.state_dict())
    language_model.compile(backend="eager")
    torch.testing.assert_close(language_model(batch), expected, atol=1e-5, rtol=1e-5)
    assert list(language_model.state_dict()) == names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["modernbert", "llama"])
def test_a_compiled_backbone_computes_rotary_positions_once(name):
    """Not in every layer, nor in the backward again."""
    language_model, batch, graphs = LanguageModel(small_model(name)), make_rows([[6, 4], [9]], 10), []

    def states_and_gradients() -> list[Tensor]:
        language_model.zero_grad()
        states = language_model(batch)
        states.square().mean().backward()
        return [states, *(p.grad for p in language_model.backbone.parameters() if p.grad is not None)]

    def note(graph, inputs):
        graphs.append(Counter(str(node.target) for node in graph.graph.nodes))
        return make_boxed_func(graph.forward)

    expected = states_and_gradients()
    backend = aot_autograd(fw_compiler=note, bw_compiler=note, partition_fn=min_cut_rematerialization_partition)
    language_model.compile(backend=backend)
    torch.testing.assert_close(states_and_gradients(), expected, atol=1e-5, rtol=1e-4)
    forward, backward = graphs
    kinds = 2 if name == "modernbert" else 1  # of layers, each with its own rotary base
    for function in ("aten.cos.default", "aten.sin.default"):
        assert (forward[function], backward[function]) == (kinds, 0)
    assert forward["textssl.opaque.default"] == 2 * kinds


@pytest.mark.slow
def test_another_number_of_documents_compiles_nothing_again(monkeypatch):
    """The flat layout's kernels on a GPU, in whose place one operation stands here that a compiler cannot look into."""

    @torch.library.custom_op("textssl_tests::attention", mutates_args=())
    def attention(query: Tensor, starts: Tensor) -> Tensor:
        return query * len(starts)

    attention.register_fake(lambda query, starts: torch.empty_like(query))
    monkeypatch.setattr(varlen, "piecewise", lambda query, key, value, starts, *rest: attention(query, starts))
    language_model = LanguageModel(small_model("modernbert", attention="varlen"))
    compiled = []
    language_model.compile(backend=lambda graph, inputs: compiled.append(graph) or graph.forward)
    with torch.no_grad():
        for lengths in ([6, 4], [3, 3, 4], [1, 2, 3, 4]):
            language_model(make_rows([lengths, [10]], 10))
    assert len(compiled) == 1


@pytest.mark.slow
def test_of_several_processes_each_kind_of_layer_is_one_graph(monkeypatch):
    monkeypatch.setattr(layers, "world_size", lambda: 2)
    language_model, compiled = LanguageModel(small_model("modernbert", num_hidden_layers=6)), []
    expected = language_model(make_rows([[6, 4], [10]], 10))
    language_model.compile(backend=lambda graph, inputs: compiled.append(graph) or graph.forward)
    with torch.no_grad():
        for _ in range(2):
            found = language_model(make_rows([[6, 4], [10]], 10))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert len(compiled) == 2  # the first layer has no norm before its attention
    assert language_model.backbone._compiled_call_impl is None


def test_direction_of_a_call():
    language_model = LanguageModel(small_model("modernbert"))
    batch = make_rows([[8]], 8)
    both, left = language_model(batch), language_model(batch, causal=True)
    batch.ids[0, -1] = 5 if batch.ids[0, -1] != 5 else 6
    torch.testing.assert_close(language_model(batch, causal=True)[0, :-1], left[0, :-1])
    assert (language_model(batch)[0, :-1] - both[0, :-1]).abs().max() > 0.01


READER = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer
for folder, causal, ids in json.loads(sys.argv[1]):
    factory = AutoModelForCausalLM if causal else AutoModelForMaskedLM
    model, report = factory.from_pretrained(folder, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor(ids)).logits
    print(json.dumps({
        "report": {key: sorted(map(str, value)) for key, value in report.items()},
        "logits": logits.tolist(),
        "text": tokenizer("w5 w6")["input_ids"],
        "length": tokenizer.model_max_length,
        "foreign": [name for name in sys.modules if name.startswith("textssl")],
        "use_cache": getattr(model.config, "use_cache", None),
    }))
"""


def test_exports_load_without_textssl(tmp_path):
    """Stock classes in a fresh process: no key too many or too few, the same logits, the right tokenizer."""
    requests, expected = [], {}
    for name in FOUR:
        language_model = LanguageModel(
            small_model(name, "sdpa", 0.3, **{POSITIONS.get(name, "max_position_embeddings"): 64})
        )
        folder = language_model.export(tmp_path / name / "model", word_tokenizer())
        assert [path.name for path in folder.parent.iterdir()] == ["model"]
        batch = make_rows([[12], [12]], 12)
        with torch.no_grad():
            expected[name] = language_model.logits(language_model(batch))
        requests.append((str(folder), language_model.causal, batch.ids.tolist()))
    result = run(["-c", READER, json.dumps(requests)], cwd=tmp_path, libraries_only=True)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    for name, (_, causal, _), found in zip(FOUR, requests, lines, strict=True):
        assert not any(found["report"].values()), found["report"]
        assert found["foreign"] == []
        torch.testing.assert_close(torch.tensor(found["logits"]), expected[name], atol=1e-5, rtol=1e-5)
        assert found["length"] == 64
        assert found["text"] == ([2, 5, 6] if causal else [2, 5, 6, 3])
        assert found["use_cache"] is not False


def test_export_replaces_a_folder_and_leaves_the_tokenizer_alone(tmp_path):
    tokenizer, language_model = word_tokenizer(), LanguageModel(small_model("bert"))
    length = tokenizer.model_max_length
    Path(tmp_path / "model").mkdir()
    Path(tmp_path / "model" / "stale.txt").write_text("old")
    folder = language_model.export(tmp_path / "model", tokenizer)
    assert not (folder / "stale.txt").exists()
    assert tokenizer.model_max_length == length
    assert AutoTokenizer.from_pretrained(folder).model_max_length == 512


def test_every_family_with_packed_rows_has_a_head():
    assert set(TRANSFORMS) == set(CONFIGS)
