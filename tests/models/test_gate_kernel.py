"""The kernels against torch, where Triton is: on a GPU, or interpreted on the CPU with TRITON_INTERPRET=1."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton", reason="torch's builds for CPUs come without Triton")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET is not 1", allow_module_level=True)

from tests.models.small import make_rows, small_model
from textssl.models import layers
from textssl.models.gate_kernel import TOLERANCE, distance, failed_trial, gated_gelu
from textssl.models.heads import LanguageModel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("shape", [(1, 2), (3, 5, 24), (2, 700, 96), (0, 8)])
def test_values_and_gradients_are_those_of_torch(shape, kind, tolerance):
    generator = torch.Generator().manual_seed(0)
    halves = (3 * torch.randn(shape, generator=generator)).to(kind)
    exact, given = halves.double().requires_grad_(), halves.to(DEVICE).requires_grad_()
    value, gate = exact.chunk(2, -1)
    expected, found = F.gelu(value) * gate, gated_gelu(given)
    slopes = torch.randn(expected.shape, generator=generator).to(kind)
    expected.backward(slopes.double())
    found.backward(slopes.to(DEVICE))
    assert given.grad is not None and exact.grad is not None
    assert found.dtype == given.grad.dtype == kind
    torch.testing.assert_close(found.detach().cpu().double(), expected.detach(), atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(given.grad.cpu().double(), exact.grad, atol=tolerance, rtol=tolerance)


def test_a_backbone_with_fused_gates_has_the_states_and_gradients_of_one_without(monkeypatch):
    language_model, batch = LanguageModel(small_model("modernbert")).to(DEVICE), make_rows([[6, 4], [9]], 10).to(DEVICE)

    def states_and_gradients() -> list[torch.Tensor]:
        language_model.zero_grad()
        states = language_model(batch)
        states.square().mean().backward()
        return [states, *(p.grad for p in language_model.backbone.parameters() if p.grad is not None)]

    expected = states_and_gradients()
    monkeypatch.setattr(layers, "FUSING", ("cuda", "cpu"))
    layers.fuse_gates(language_model)
    assert sum(type(part) is layers.FusedGate for part in language_model.modules()) == 3
    torch.testing.assert_close(states_and_gradients(), expected, atol=1e-6, rtol=1e-4)


def test_a_trial_that_fails_leaves_the_stock_gates(monkeypatch):
    assert distance(torch.device(DEVICE)) < TOLERANCE / 10 and failed_trial(DEVICE) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("textssl.models.gate_kernel.failed_trial", lambda device: "numbers that are 0.1 apart")
    language_model = LanguageModel(small_model("modernbert"))
    layers.fuse_gates(language_model)
    assert not any(isinstance(part, layers.FusedGate) for part in language_model.modules())
