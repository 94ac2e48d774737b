"""Is it right: losses and gradients against the CPU, the chunked cross entropy, Muon, documents isolated."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from scripts.gpu_check.check import Check, relative
from scripts.gpu_check.runs import settings, trainer_by_hand
from textssl.batch import Rows
from textssl.distributed import Accelerator
from textssl.losses.cross_entropy import has_triton, linear_cross_entropy
from textssl.models.attention import varlen
from textssl.models.attention.isolation import isolate, restore
from textssl.objectives.base import Encoded
from textssl.training.optimizer import orthogonalize
from textssl.training.step import StepGradient
from textssl.training.trainer import Trainer

OBJECTIVES = {
    "mlm": ("modernbert", {"name": "mlm"}),
    "clm": ("llama", {"name": "clm"}),
    "crops": ("modernbert", {"name": "crops", "view": {"min_tokens": 4, "max_tokens": 24}}),
}
FLOAT32, BFLOAT16 = 1e-4, 2e-2  # relative errors of a loss


def assembled(check: Check, name: str, **sections: Any) -> Trainer:
    """A trainer of OBJECTIVES with its objective on the CPU, for steps by hand."""
    model, objective = OBJECTIVES[name]
    values = settings(check, model, name, objective=objective, train={"device": "cpu"}, **sections)
    return trainer_by_hand(values, Accelerator(torch.device("cpu")))


def step_gradient(
    objective: Any, batches: list[Any], device: torch.device, precision: str, *, cache: bool = False
) -> tuple[float, dict[str, Tensor]]:
    """The loss of a step, and the gradient of each parameter, as the trainer makes them."""
    counts: dict[str, float] = {}
    for batch in batches:
        for term, count in objective.counts(batch).items():
            counts[term] = counts.get(term, 0) + count

    def encode(batch: Any) -> Encoded:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            terms, features = objective(batch)
        return Encoded(
            terms, {key: value.float() if value.is_floating_point() else value for key, value in features.items()}
        )

    objective.zero_grad()
    gradient = StepGradient(objective, encode, counts, 0, 0, cache=cache)
    gradient.run([batch.to(device) for batch in batches])
    loss = float(torch.stack(list(gradient.totals.values())).sum())
    return loss, {key: value.grad.clone() for key, value in objective.named_parameters() if value.grad is not None}


def apart(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Relative error of all gradients together."""
    together = [torch.cat([gradients[key].flatten().cpu() for key in expected]) for gradients in (found, expected)]
    return relative(*together)


def all_losses(check: Check) -> None:
    """Losses, gradients and Muon's updates."""
    check.attempt("cross entropy", cross_entropy, check)
    check.attempt("gates", gates, check)
    check.attempt("muon", muon, check)
    losses(check)


def losses(check: Check) -> None:
    """The same step on the CPU and on the device: float32 to 1e-4, bfloat16 within 2 %."""
    for name in OBJECTIVES:
        check.attempt(name, objective_losses, check, name)


def objective_losses(check: Check, name: str) -> None:
    trainer = assembled(check, name)
    batches = trainer.dataset[0]
    on_cpu, on_device = trainer.objective, copy.deepcopy(trainer.objective).to(check.device)
    expected, slopes = step_gradient(on_cpu, batches, torch.device("cpu"), "float32")
    found, gradients = step_gradient(on_device, batches, check.device, "float32")
    check.at_most(f"{name}: loss in float32 against the CPU", abs(found - expected) / abs(expected), FLOAT32)
    check.at_most(f"{name}: gradient in float32 against the CPU", apart(gradients, slopes), 1e-3)
    found, gradients = step_gradient(on_device, batches, check.device, "bfloat16")
    check.at_most(f"{name}: loss in bfloat16", abs(found - expected) / abs(expected), BFLOAT16)
    check.measured(
        f"{name}: gradient in bfloat16, relative error", apart(gradients, slopes), f"{apart(gradients, slopes):.3f}"
    )


def cross_entropy(check: Check) -> None:
    """The chunked loss, whose logits and log-probabilities share memory, against torch's in float64."""
    torch.manual_seed(0)
    for vocabulary in (500, 3_000) if check.dry else (500, 8_192, 50_368):
        hidden, weight, bias = torch.randn(700, 64), torch.randn(vocabulary, 64) * 0.2, torch.randn(vocabulary)
        labels = torch.randint(vocabulary, (700,))
        exact = [part.double().requires_grad_() for part in (hidden, weight, bias)]
        expected = F.cross_entropy(F.linear(*exact), labels, reduction="sum")
        expected.backward()
        for precision, bound in (("float32", 1e-5), ("bfloat16", BFLOAT16)):
            parts = [part.clone().to(check.device).requires_grad_() for part in (hidden, weight, bias)]
            with torch.autocast(check.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                found = linear_cross_entropy(parts[0], parts[1], parts[2], labels.to(check.device), chunk=300)
            found.backward()
            check.at_most(f"cross entropy, {vocabulary:,} tokens, {precision}", relative(found, expected), bound)
            pairs = zip(parts, exact, strict=True)
            worst = max(relative(part.grad, other.grad) for part, other in pairs)  # type: ignore[arg-type]
            check.at_most(f"its gradients, {vocabulary:,} tokens, {precision}", worst, bound)


def gates(check: Check) -> None:
    """The kernels of ModernBERT's gates against the formula in float64."""
    if check.device.type != "cuda" or not has_triton():
        check.write("gates", None, "their kernels are Triton's, for GPUs")
        return
    from textssl.models import gate_kernel

    check.at_most("gates: values and gradients against float64", gate_kernel.distance(check.device), 1e-5)


def muon(check: Check) -> None:
    """Singular values of Muon's updates, and float64 that stays float64."""
    torch.manual_seed(0)
    for rows, columns in ((64, 256), (256, 64)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(2, rows, columns, device=check.device)).float())
        low, high = float(values.min()), float(values.max())
        within = low > 0.5 and high < 1.4
        check.true(f"singular values of an update of {rows} x {columns}", within, f"{low:.2f} to {high:.2f}")
    exact = orthogonalize(torch.randn(1, 32, 64, device=check.device, dtype=torch.float64))
    check.true("float64 gradients stay float64", exact.dtype == torch.float64)


# ---- documents isolated


def isolation(check: Check) -> None:
    """Each attention against documents alone, and a change in one document that must not reach the next."""
    implementations = ["eager", "sdpa", "varlen"]
    if not check.dry:  # on a CPU flex attention compiles for half a minute and has no backward
        implementations.insert(2, "flex_attention")
        if find_spec("flash_attn"):
            implementations.append("flash_attention_2")
        else:
            check.write("flash_attention_2", None, "the package flash-attn is not there")
    for family in ("modernbert", "bert", "llama", "qwen3"):
        for implementation in implementations:
            check.attempt(f"{family}, {implementation}", isolated, check, family, implementation)


def rows_of(sizes: list[int], length: int, seed: int) -> Rows:
    """One row of documents of these sizes; equal sizes and seed give equal ids."""
    ids = torch.randint(5, 40, (1, length), generator=torch.Generator().manual_seed(seed))
    numbers = torch.cat([torch.full((size,), number) for number, size in enumerate(sizes, 1)])
    documents = torch.zeros(1, length, dtype=torch.int32)
    documents[0, : len(numbers)] = numbers
    positions = torch.zeros(1, length, dtype=torch.int64)
    positions[0, : len(numbers)] = torch.cat([torch.arange(size) for size in sizes])
    return Rows(ids, documents, positions, ids.clone(), torch.zeros(1, dtype=torch.int64))


def isolated(check: Check, family: str, implementation: str) -> None:
    from tests.models.small import small_model

    sizes, length = [100, 37, 60, 1], 256
    half = implementation in ("varlen", "flash_attention_2") and check.device.type == "cuda"
    if implementation == "varlen" and half:
        why = varlen.failed_trial(check.device, 16)
        check.true("varlen: the trial of its kernels", why is None, why or "forward and backward agree")
    heads: dict[str, Any] = {"head_dim": 16} if family in ("llama", "qwen3") else {}  # where flex attention begins
    stock: Any = small_model(family, std=0.1, hidden_size=64, **heads)
    model: Any = small_model(family, implementation, std=0.1, hidden_size=64, **heads)
    stock.to(check.device)
    model.to(check.device)

    def hidden(batch: Rows) -> Tensor:
        batch = batch.to(check.device)
        with torch.no_grad(), torch.autocast(check.device.type, torch.bfloat16, enabled=half):
            output = model.base_model(**isolate(model, batch)).last_hidden_state
        return restore(model, output, batch)[0].float()

    batch, other = rows_of(sizes, length, 0), rows_of(sizes, length, 0)
    packed, start, errors = hidden(batch), 0, []
    for size in sizes:
        with torch.no_grad():
            alone = stock.base_model(input_ids=batch.ids[:, start : start + size].to(check.device)).last_hidden_state[0]
        errors.append(relative(packed[start : start + size], alone))
        start += size
    check.at_most(f"{family}, {implementation}: packed against alone", max(errors), 3e-2 if half else 1e-4)
    other.ids[0, :100] = rows_of([100], 100, 1).ids[0]
    change = (hidden(other) - packed).abs()
    check.at_most(f"{family}, {implementation}: what a document tells the next", float(change[100:198].max()), 1e-6)
    check.true(f"{family}, {implementation}: the change is seen inside", float(change[:100].max()) > 1e-2)
