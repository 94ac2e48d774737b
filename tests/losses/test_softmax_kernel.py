"""The kernel against torch, where Triton is: on a GPU, or interpreted on the CPU with TRITON_INTERPRET=1."""

from __future__ import annotations

import os

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton", reason="torch's builds for CPUs come without Triton")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET is not 1", allow_module_level=True)

from textssl.losses.softmax_kernel import softmax_errors_

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 5e-3)])
@pytest.mark.parametrize("classes", [2, 37, 4096, 9001])
def test_losses_and_errors_are_those_of_torch(classes, kind, tolerance, weighted):
    generator = torch.Generator().manual_seed(classes)
    logits = (6 * torch.randn(7, classes, generator=generator)).to(kind)
    labels = torch.randint(classes, (7,), generator=generator)
    weights = torch.rand(7, generator=generator) if weighted else None
    exact = logits.double().requires_grad_()
    expected = F.cross_entropy(exact, labels, reduction="none") * (1 if weights is None else weights)
    expected.sum().backward()
    given = None if weights is None else weights.to(DEVICE)
    found = logits.to(DEVICE).clone()
    kept = softmax_errors_(found, labels.to(DEVICE), given, errors=False)
    assert torch.equal(found.cpu(), logits)
    losses = softmax_errors_(found, labels.to(DEVICE), given, errors=True)
    torch.testing.assert_close(losses.cpu().double(), expected.detach(), atol=1e-4, rtol=1e-5)
    assert torch.equal(losses, kept)
    torch.testing.assert_close(found.cpu().double(), exact.grad, atol=tolerance, rtol=tolerance)
