from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tests.models.small import CONFIGS, FOUR, MASKED, alone, make_rows, small_model
from textssl.batch import document_starts
from textssl.models.attention import isolation
from textssl.models.attention.isolation import isolate, layout, restore
from textssl.training.precision import computing_in

ISOLATING = ("sdpa", "eager", "dense", "varlen")
PACKED = [[7, 12, 4], [23], [20], [1, 1, 21], []]  # with a full row, padding, documents of one token, a row of padding
LENGTH = 23


def hidden_states(model, batch, **options) -> Tensor:
    with torch.no_grad():
        output = model.base_model(**isolate(model, batch, **options)).last_hidden_state
    return restore(model, output, batch)


@pytest.mark.parametrize("implementation", ISOLATING)
@pytest.mark.parametrize("name", CONFIGS)
def test_packed_equals_separate(name, implementation):
    model, batch = small_model(name, implementation), make_rows(PACKED, LENGTH)
    assert layout(model) == ("flat" if implementation == "varlen" else "packed")
    packed, stock = hidden_states(model, batch), small_model(name, "eager" if implementation == "eager" else "sdpa")
    assert torch.isfinite(packed).all()
    for row, sizes in enumerate(PACKED):
        start = 0
        for size in sizes:
            expected = alone(stock, batch.ids[row, start : start + size])
            torch.testing.assert_close(packed[row, start : start + size], expected, atol=1e-4, rtol=1e-4)
            start += size


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")  # compiled only where it is fast
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # torch's own compiler uses it
@pytest.mark.parametrize("name", ["modernbert", "bert", "llama", "mistral", "qwen3"])
def test_flex_attention_isolates(name):
    with torch.compiler.set_stance("force_eager"):  # transformers would compile its kernel, in half a minute on a CPU
        flex, batch = small_model(name, "flex_attention"), make_rows(PACKED, LENGTH)
        assert layout(flex) == "packed"
        found, (first, second) = hidden_states(flex, batch), change_in_second(flex)
    real = batch.documents > 0
    torch.testing.assert_close(found[real], hidden_states(small_model(name), batch)[real], atol=1e-4, rtol=1e-4)
    assert first > 0.1 and second <= 1e-6


@pytest.mark.parametrize("name", ["modernbert", "llama"])
def test_varlen_hands_gradients_on_without_copying_them_into_zeros(name, monkeypatch):
    """What torch does for a selected element: its gradient is zeros of the whole, with a copy in its place."""
    nodes = []

    def attention(query: Tensor, key: Tensor, value: Tensor, *rest) -> Tensor:
        nodes.extend(part.grad_fn for part in (query, key, value))
        return query

    monkeypatch.setattr("textssl.models.attention.varlen.piecewise", attention)
    model, batch = small_model(name, "varlen"), make_rows(PACKED, LENGTH)
    model.base_model(**isolate(model, batch))
    assert [node.name() for node in nodes] == ["TransposeBackward0"] * len(nodes)
    assert {node.next_functions[0][0].name() for node in nodes} == {"SqueezeBackward1"}


def test_varlen_refuses_padded_texts():
    """It has no mask, so what is padded would be seen: an error, not other numbers."""
    model = small_model("bert", "varlen")
    with pytest.raises(RuntimeError, match="packed rows alone"):
        model(input_ids=torch.ones(2, 5, dtype=torch.int64), attention_mask=torch.tensor([[1] * 5, [1] * 3 + [0] * 2]))


@pytest.mark.parametrize("name", FOUR)
def test_varlen_has_the_gradients_of_sdpa(name):
    batch, gradients = make_rows(PACKED, LENGTH), {}
    for implementation in ("sdpa", "varlen"):
        model = small_model(name, implementation)
        output = model.base_model(**isolate(model, batch)).last_hidden_state
        restore(model, output, batch)[batch.documents > 0].square().sum().backward()
        gradients[implementation] = {key: value.grad for key, value in model.named_parameters()}
    for key, gradient in gradients["sdpa"].items():
        torch.testing.assert_close(gradients["varlen"][key], gradient, atol=1e-2, rtol=1e-3)


def change_in_second(model, **options) -> tuple[float, float]:
    """Every token of the first document changes: the largest change in its own outputs, and in the second's."""
    batch, other = make_rows([[9, 11]], 22), make_rows([[9, 11]], 22)
    other.ids[0, :9] = 5 + (other.ids[0, :9] - 5 + 7) % 43
    assert (other.ids[0, :9] != batch.ids[0, :9]).all()
    change = (hidden_states(model, batch, **options) - hidden_states(model, other, **options)).abs()
    return float(change[0, :9].max()), float(change[0, 9:20].max())


@pytest.mark.parametrize("implementation", ISOLATING)
@pytest.mark.parametrize("name", CONFIGS)
def test_documents_do_not_see_each_other(name, implementation):
    first, second = change_in_second(small_model(name, implementation))
    assert first > 0.1
    assert second <= 1e-6


@pytest.mark.parametrize("implementation", ISOLATING)
@pytest.mark.parametrize("name", FOUR)
def test_documents_do_not_see_each_other_in_bfloat16(name, implementation, monkeypatch):
    """As training computes in it: what is masked has a weight of 0, so the bound is that of float32."""
    model = small_model(name, implementation)
    exact = hidden_states(model, make_rows(PACKED, LENGTH))
    with computing_in("bfloat16", torch.device("cpu")):
        first, second = change_in_second(model)
        rounded = hidden_states(model, make_rows(PACKED, LENGTH))
    assert torch.isfinite(rounded).all() and not torch.equal(rounded, exact)
    assert first > 0.1
    assert second <= 1e-6
    if implementation != "varlen":  # which has no mask
        stock = isolation.document_mask
        monkeypatch.setattr(isolation, "document_mask", lambda documents, causal: stock(documents * 0, causal))
        with computing_in("bfloat16", torch.device("cpu")):
            assert change_in_second(model)[1] > 0.01


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "dense"])
@pytest.mark.parametrize("name", FOUR)
def test_without_the_mask_documents_leak(name, implementation, monkeypatch):
    """The two tests above can fail: with all documents numbered alike, the second does change."""
    stock = isolation.document_mask
    monkeypatch.setattr(isolation, "document_mask", lambda documents, causal: stock(documents * 0, causal))
    assert change_in_second(small_model(name, implementation))[1] > 0.01


@pytest.mark.parametrize("name", FOUR)
def test_whole_rows_use_the_cheapest_mask(name):
    model, batch = small_model(name), make_rows([[LENGTH]] * 3, LENGTH)
    mask = isolate(model, batch)["attention_mask"]
    if name == "modernbert":
        assert mask["full_attention"] is None and mask["sliding_attention"].shape == (1, 1, LENGTH, LENGTH)
    else:
        assert mask is None
    for row, hidden in enumerate(hidden_states(model, batch)):
        torch.testing.assert_close(hidden, alone(model, batch.ids[row]), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["modernbert", "mistral", "qwen3"])
@pytest.mark.parametrize("length", [2, 3, 4, 5, 9])
def test_window_has_the_stock_width(name, length):
    model, batch = small_model(name), make_rows([[length]], length)
    torch.testing.assert_close(hidden_states(model, batch)[0], alone(model, batch.ids[0]), atol=1e-5, rtol=1e-5)
    other = make_rows([[length, length]], 2 * length)
    packed = hidden_states(model, other)[0, length:]
    torch.testing.assert_close(packed, alone(model, other.ids[0, length:]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager", "dense"])
@pytest.mark.parametrize("name", ["modernbert", "llama"])
@pytest.mark.parametrize("sizes", [[8], [3, 5]])
def test_direction_can_be_set(name, implementation, sizes):
    model, batch = small_model(name, implementation), make_rows([sizes], 8)
    other = make_rows([sizes], 8)
    other.ids[0, -1] = 5 + (other.ids[0, -1] - 5 + 1) % 43
    for causal in (True, False):
        change = (hidden_states(model, batch, causal=causal) - hidden_states(model, other, causal=causal)).abs()
        assert float(change[0, -1].max()) > 0.01
        assert (float(change[0, -2].max()) <= 1e-6) == causal


def varlen_reference(module, query, key, value, attention_mask, scaling, sliding_window=None, **arguments):
    """What flash attention computes, piece by piece. query, key, value: (1, heads, tokens, width)."""
    assert attention_mask is None and query.shape[0] == 1
    starts = arguments["cu_seq_lens_q"].tolist()
    assert starts == arguments["cu_seq_lens_k"].tolist()
    assert arguments["max_length_q"] == arguments["max_length_k"] >= max(b - a for a, b in pairwise(starts))
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    pieces = []
    for start, stop in pairwise(starts):
        place = torch.arange(stop - start)
        distance = place[:, None] - place[None, :]
        seen = distance >= 0 if module.is_causal else torch.ones_like(distance, dtype=torch.bool)
        if sliding_window is not None:  # both boundaries count, see _process_flash_attention_kwargs
            seen = seen & (distance.abs() <= sliding_window - 1)
        scores = query[:, :, start:stop] @ key[:, :, start:stop].transpose(2, 3)
        scores = scores * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        pieces.append(scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value[:, :, start:stop])
    return torch.cat(pieces, 2).transpose(1, 2), None


@pytest.mark.parametrize("name", sorted({*FOUR, "mistral", "qwen3", "roberta"}))
def test_flash_arguments_isolate(name, monkeypatch):
    """The arguments, given to a plain reading of flash attention's contract, equal the packed mask."""
    model, batch = small_model(name), make_rows(PACKED, LENGTH)
    expected = hidden_states(model, batch)
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", varlen_reference)
    model.config._attn_implementation_internal = "flash_attention_2"
    assert layout(model) == "flat"
    real = batch.documents > 0
    torch.testing.assert_close(hidden_states(model, batch)[real], expected[real], atol=1e-4, rtol=1e-4)


def test_document_starts_are_exact():
    documents = torch.tensor([[1, 1, 2, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 2, 3, 3, 0]], dtype=torch.int32)
    starts = document_starts(documents)
    assert starts.dtype == torch.int32
    assert starts.tolist() == [0, 2, 3, 5, 10, 15, 16, 17, 19, 20]
    assert document_starts(documents[:0]).tolist() == [0]


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_separate_layout_equals_packed(name, monkeypatch):
    """Families without an entry see each document as a row of its own."""
    model, batch = small_model(name), make_rows([[], [7, 12, 4], [], [1, 21], [23]], LENGTH)
    expected = hidden_states(model, batch)
    monkeypatch.delitem(isolation.MASKING, name)
    assert layout(model) == "separate"
    assert isolate(model, batch)["input_ids"].shape == (6, LENGTH)
    real = batch.documents > 0
    found = hidden_states(model, batch)
    torch.testing.assert_close(found[real], expected[real], atol=1e-4, rtol=1e-4)
    assert not found[~real].any()


def test_separate_layout_of_padding_alone_still_reaches_every_weight(monkeypatch):
    model, batch = small_model("llama"), make_rows([[], []], LENGTH)
    monkeypatch.delitem(isolation.MASKING, "llama")
    output = model.base_model(**isolate(model, batch)).last_hidden_state
    restored = restore(model, output, batch)
    assert restored.shape[:2] == (2, LENGTH) and not restored.any() and restored.requires_grad


def test_separate_layout_refuses_another_direction(monkeypatch):
    model = small_model("llama")
    monkeypatch.delitem(isolation.MASKING, "llama")
    with pytest.raises(ValueError, match="direction"):
        isolate(model, make_rows([[4]], 4), causal=True)


def test_every_family_of_the_table_is_tested():
    assert set(isolation.MASKING) == set(CONFIGS)
    assert all(isolation.MASKING[name].causal != (name in MASKED) for name in CONFIGS)
