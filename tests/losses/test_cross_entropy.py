from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from textssl.losses import cross_entropy
from textssl.losses.cross_entropy import chunk_tokens, linear_cross_entropy


def inputs(tokens=37, width=8, vocabulary=50, dtype=torch.float64, bias=True, scale=1.0, seed=0) -> Any:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype).requires_grad_()

    labels = torch.randint(0, vocabulary, (tokens,), generator=generator)
    return draw(tokens, width), draw(vocabulary, width), draw(vocabulary) if bias else None, labels


def in_numpy(hidden, weight, bias, labels):
    """Sum over tokens of log(sum_v exp(h w_v + b_v)) - (h w_label + b_label)."""
    logits = hidden @ weight.T + bias
    top = logits.max(1, keepdims=True)
    normalisers = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    return float((normalisers - logits[np.arange(len(labels)), labels]).sum())


def plain(hidden, weight, bias, labels):
    return F.cross_entropy(F.linear(hidden, weight, bias), labels, reduction="sum")


def present(*tensors) -> list[Any]:
    return [tensor for tensor in tensors if tensor is not None]


@pytest.mark.parametrize("chunk", [None, 1, 5, 36, 37, 1000])
def test_equals_the_formula(chunk):
    hidden, weight, bias, labels = inputs()
    found = linear_cross_entropy(hidden, weight, bias, labels, chunk)
    assert found.dtype == torch.float64 and found.shape == ()
    expected = in_numpy(*(x.detach().numpy() for x in (hidden, weight, bias, labels)))
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [None, 5])
def test_gradients_in_float64(bias, chunk):
    hidden, weight, offset, labels = inputs(tokens=11, width=4, vocabulary=7, bias=bias)
    function = lambda h, w, b=None: linear_cross_entropy(h, w, b, labels, chunk)  # noqa: E731
    assert torch.autograd.gradcheck(function, present(hidden, weight, offset))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0])
def test_equals_torch(dtype, tolerance, scale):
    ours, theirs = inputs(dtype=dtype, scale=scale), inputs(dtype=dtype, scale=scale)
    found, expected = linear_cross_entropy(*ours, chunk=9), plain(*theirs)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    (found / 7).backward()
    (expected / 7).backward()
    for a, b in zip(ours[:3], theirs[:3], strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("wanted", list(itertools.product([True, False], repeat=3)))
def test_only_what_is_asked_gets_a_gradient(wanted):
    tensors, reference = inputs(), inputs()
    for group in (tensors, reference):
        for tensor, want in zip(group[:3], wanted, strict=True):
            tensor.requires_grad_(want)
    found = linear_cross_entropy(*tensors, chunk=10)
    assert found.requires_grad == any(wanted)
    if not any(wanted):
        return
    found.backward()
    plain(*reference).backward()
    for tensor, expected, want in zip(tensors[:3], reference[:3], wanted, strict=True):
        assert (tensor.grad is not None) == want
        if want:
            torch.testing.assert_close(tensor.grad, expected.grad)


def test_no_gradient_work_without_gradients(monkeypatch):
    tensors = inputs()
    monkeypatch.setattr(torch.Tensor, "exp_", lambda self: pytest.fail("probabilities are for gradients alone"))
    with torch.no_grad():
        found = linear_cross_entropy(*tensors)
    assert not found.requires_grad
    torch.testing.assert_close(found, plain(*tensors).detach())


def test_tied_weights_and_a_second_use_in_one_graph():
    results = []
    for loss in (linear_cross_entropy, plain):
        _, weight, bias, labels = inputs()
        ids = labels.flip(0)
        hidden = F.embedding(ids, weight).tanh()
        total = loss(hidden, weight, bias, labels) + 0.5 * loss(hidden[:9] * 2, weight, None, labels[:9])
        total.backward(retain_graph=True)
        once = weight.grad.clone()
        total.backward()
        torch.testing.assert_close(weight.grad, 2 * once)
        results.append((total.detach(), once, bias.grad))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("bias", [True, False])
def test_no_tokens_give_zero_with_a_graph(bias):
    hidden, weight, offset, labels = inputs(tokens=0, dtype=torch.float32, bias=bias)
    found = linear_cross_entropy(hidden, weight, offset, labels)
    assert found.item() == 0 and found.dtype == torch.float32
    found.backward()
    for tensor in present(hidden, weight, offset):
        assert tensor.grad is not None and not tensor.grad.any()


@pytest.mark.parametrize("hidden_type", [torch.float32, torch.bfloat16])
def test_under_autocast_the_sum_is_float32(hidden_type):
    hidden, weight, bias, labels = inputs(tokens=400, dtype=torch.float32)
    lower = hidden.detach().to(hidden_type).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(lower, weight, bias, labels, chunk=64)
    assert found.dtype == torch.float32
    found.backward()
    assert (lower.grad.dtype, weight.grad.dtype, bias.grad.dtype) == (hidden_type, torch.float32, torch.float32)
    reference = inputs(tokens=400, dtype=torch.float32)
    expected = plain(*reference)
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=2e-3)
    for a, b in zip((lower, weight, bias), reference[:3], strict=True):
        assert (a.grad.float() - b.grad).norm() < 0.02 * b.grad.norm()


def test_autocast_leaves_float64_alone():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = linear_cross_entropy(*inputs())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, plain(*inputs()))


def test_a_confident_model_keeps_its_small_gradient():
    """Where p is nearly 1, p - 1 is formed before any rounding to a shorter type."""
    weight: Any = torch.eye(4).requires_grad_()
    hidden: Any = (torch.eye(4) * 12).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear_cross_entropy(hidden, weight, None, torch.arange(4)).backward()
    expected = torch.softmax(torch.eye(4, dtype=torch.float64) * 12, 1) - torch.eye(4)
    torch.testing.assert_close(hidden.grad.double(), expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("autocast", [False, True])
def test_a_label_whose_probability_vanishes_has_an_exact_loss(autocast):
    """exp(-200) is 0 in float32."""
    hidden, weight = torch.eye(2, 4), torch.zeros(3, 4)
    weight[1, 0], weight[2, 1] = -200.0, 300.0
    labels = torch.tensor([1, 0])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = linear_cross_entropy(hidden, weight, None, labels)
    assert found.item() == pytest.approx(200 + np.log(2) + 300, rel=1e-6)


def test_chunks_are_equal_and_bounded():
    assert chunk_tokens(1200, 8192) == 400
    assert chunk_tokens(4096, 8192) == 512
    assert chunk_tokens(1200, 50_000) == 240
    assert chunk_tokens(10, 50_000) == 10
    assert chunk_tokens(0, 8192) == 1
    for tokens, vocabulary in itertools.product([1, 255, 257, 5000], [5, 8192, 250_000]):
        bound = max(cross_entropy.CHUNK_TOKENS, cross_entropy.CHUNK_LOGITS["cpu"] // vocabulary)
        assert 1 <= chunk_tokens(tokens, vocabulary) <= bound
    assert chunk_tokens(100, 10, chunk=30) == 25
