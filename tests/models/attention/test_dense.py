"""Attention by matrix products in their type: the formula, its gradients, in bfloat16 too, and masks of padding."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from tests.models.small import small_model, word_tokenizer
from textssl.models.attention.dense import DENSE, dense_attention, narrowed
from textssl.models.build import build_model
from textssl.sections import ModelConfig
from textssl.training.precision import computing_in

HIDDEN = torch.finfo(torch.float32).min
LAYER = SimpleNamespace(training=True)


def parts(kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of four heads, keys and values of two."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(3, heads, 7, 8, generator=generator, dtype=kind).requires_grad_() for heads in (4, 2, 2)
    )
    return query, key, value


def formula(query, key, value, mask, scale):
    """softmax(scale q k' + mask) v, head by head."""
    groups = query.shape[1] // key.shape[1]
    heads = []
    for head in range(query.shape[1]):
        scores = scale * query[:, head] @ key[:, head // groups].transpose(1, 2) + mask[:, 0]
        heads.append(torch.exp(scores - torch.logsumexp(scores, 2, keepdim=True)) @ value[:, head // groups])
    return torch.stack(heads, 2)


def some_mask(kind: torch.dtype = torch.float64) -> Tensor:
    """(3, 1, 7, 7): causal in two documents."""
    documents = torch.tensor([[1, 1, 1, 2, 2, 2, 2]] * 3)
    seen = (documents[:, :, None] == documents[:, None, :]).tril()
    return torch.zeros(seen.shape, dtype=kind).masked_fill(~seen, torch.finfo(kind).min).unsqueeze(1)


@pytest.mark.parametrize("scaling", [None, 0.1])
def test_equals_the_formula_with_its_gradients(scaling):
    scale, mask, gradients = 8**-0.5 if scaling is None else scaling, some_mask(), []
    for function in (
        lambda query, key, value: dense_attention(LAYER, query, key, value, mask, scaling=scaling)[0],
        lambda query, key, value: formula(query, key, value, mask, scale),
    ):
        given = parts()
        result = function(*given)
        result.pow(3).sum().backward()
        gradients.append([result.detach(), *(part.grad for part in given)])
    assert gradients[0][0].shape == (3, 7, 4, 8)
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_without_a_mask_all_is_seen():
    given = parts()
    found = dense_attention(LAYER, *given, None)[0]
    torch.testing.assert_close(found, formula(*given, torch.zeros(3, 1, 7, 7), 8**-0.5))


def test_in_bfloat16_probabilities_stay_so_and_the_gradients_are_near():
    """A float32 mask, as transformers makes for padded texts, hides as well as one in bfloat16."""
    saved: list[Tensor] = []
    given, exact = parts(kind=torch.float32), parts(kind=torch.float32)

    def pack(tensor):
        saved.append(tensor)
        return tensor

    with computing_in("bfloat16", torch.device("cpu")), torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        found = dense_attention(LAYER, *given, some_mask(torch.float32))[0]
    assert found.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in saved if tensor.shape[-2:] == (7, 7)} == {torch.bfloat16}
    expected = formula(*exact, some_mask(torch.float32), 8**-0.5)
    found.float().square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(
        [found, *(part.grad for part in given)], [expected, *(part.grad for part in exact)], strict=True
    ):
        assert one is not None and other is not None
        assert (one.float() - other).norm() < 0.02 * other.norm()


def test_probabilities_drop_out_in_training_alone():
    given = parts()
    torch.manual_seed(0)
    dropped = dense_attention(LAYER, *given, some_mask(), dropout=0.5)[0]
    kept = dense_attention(SimpleNamespace(training=False), *given, some_mask(), dropout=0.5)[0]
    torch.testing.assert_close(kept, dense_attention(LAYER, *given, some_mask())[0])
    assert not torch.allclose(dropped, kept)


def test_a_mask_stays_finite():
    """A query that sees nothing, as padding on the left of a causal model, has a softmax still."""
    mask = narrowed(torch.tensor([0.0, HIDDEN, -torch.inf]), torch.bfloat16)
    assert mask.dtype == torch.bfloat16 and torch.isfinite(mask).all() and mask[0] == 0 and mask[1] < -1e38


@pytest.mark.parametrize("name", ["bert", "modernbert", "llama", "qwen3"])
def test_padded_texts_are_as_under_eager_attention(name):
    ids = torch.arange(5, 15).view(2, 5)
    for seen in ([[1] * 5, [1] * 3 + [0] * 2], [[1] * 5, [0] * 2 + [1] * 3]):
        mask, states = torch.tensor(seen), []
        for attention in ("eager", DENSE):
            model = small_model(name, attention)
            assert model.config._attn_implementation == attention
            with torch.no_grad():
                states.append(model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[mask > 0])
        torch.testing.assert_close(*states, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "length", "attention"),
    [
        ("mpnet", 32, "eager"),
        ("mpnet", 512, "eager"),
        ("opt", 511, "eager"),
        ("opt", 512, "sdpa"),
        ("bert", 512, "dense"),
    ],
)
def test_families_whose_masks_are_their_own_take_eager_for_short_rows(name, length, attention):
    """For longer ones sdpa, which is faster then, where they have it."""
    config = {"model_type": name, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"word_embed_proj_dim": 16, "ffn_dim": 16} if name == "opt" else {}
    spec = ModelConfig.model_validate({"config": config, "attention": DENSE})
    model = build_model(spec, word_tokenizer(), causal=name == "opt", sequence_length=length, seed=0)
    assert model.config._attn_implementation == attention


def test_attention_that_its_configuration_wants_in_float32_stays_so():
    assert small_model("gpt2", DENSE).config._attn_implementation == DENSE
    assert small_model("gpt2", DENSE, reorder_and_upcast_attn=True).config._attn_implementation == "eager"
