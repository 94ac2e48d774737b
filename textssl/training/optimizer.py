"""AdamW, and Muon for hidden matrices with AdamW for the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from textssl.errors import UserError
from textssl.models.layers import layer_depths
from textssl.sections import OptimizerConfig
from textssl.sharding import local, share_out
from textssl.system.hardware import host_waits, native_bfloat16

AT_ONCE = 2**24  # numbers of the matrices that a rank orthogonalises at once; it holds some eight times as many then
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # quintic coefficients of Keller Jordan's Muon (2024)


def build_optimizer(module: nn.Module, config: OptimizerConfig, precision: str = "float32") -> list[Optimizer]:
    """The optimizers of a run in this precision; each group's `peak_lr` is what the schedule scales.

    Matrices decay, vectors (norms, biases) and embeddings do not. With muon, hidden matrices (projectors among them)
    go to Muon; embeddings, output layers (of language models, classifiers and regressors) and vectors go to AdamW.
    """
    matrices, decayed, undecayed = parameter_groups(module)
    adamw_lr = config.lr
    optimizers: list[Optimizer] = []
    scales = layer_scales(module, config.layer_decay)
    if config.name == "muon":
        adamw_lr = config.adamw_lr or config.lr
        if matrices:
            groups = by_scale(matrices, scales, config.lr)
            optimizers.append(
                Muon(
                    groups,
                    lr=config.lr,
                    momentum=config.momentum,
                    weight_decay=config.weight_decay,
                    narrow=precision == "bfloat16",
                )
            )
        matrices = []
    groups = by_scale(matrices + decayed, scales, adamw_lr, weight_decay=config.weight_decay)
    groups += by_scale(undecayed, scales, adamw_lr, weight_decay=0.0)
    if groups:
        optimizers.append(torch.optim.AdamW(groups, lr=adamw_lr, betas=config.betas, eps=config.eps, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def layer_scales(module: nn.Module, decay: float) -> dict[int, float]:
    """The rate of each parameter, by its id, as a share of the peak: decay to the power of the layers above it.

    Layer-wise decay (ULMFiT's discriminative rates, arXiv:1801.06146, section 3.2): heads have 1, the top layer
    `decay`, the embeddings least. Raises UserError where there are no layers, or two stacks of them.
    """
    if decay == 1.0:
        return {}
    if any(getattr(getattr(part, "config", None), "is_encoder_decoder", False) for part in module.modules()):
        raise UserError(
            "optimizer.layer_decay is for models of one stack of layers, not an encoder-decoder: leave it out"
        )
    depths, layers = layer_depths(module)
    if not layers:
        raise UserError("optimizer.layer_decay is below 1, but the model has no layers: leave it out")
    return {id(parameter): decay ** (layers + 1 - depths[name]) for name, parameter in module.named_parameters()}


def by_scale(
    parameters: list[nn.Parameter], scales: dict[int, float], lr: float, **options: Any
) -> list[dict[str, Any]]:
    """A group of an optimizer for each rate."""
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:  # sharded ones by themselves: a fused update takes no mixture
        groups[scales.get(id(parameter), 1.0), isinstance(parameter, DTensor)].append(parameter)
    return [{"params": same, "lr": lr * scale, **options} for (scale, _), same in groups.items()]


def parameter_groups(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """(hidden matrices, other matrices that decay, what does not decay), each parameter once."""
    embeddings = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    outputs = set()
    for part in module.modules():
        find = getattr(part, "get_output_embeddings", None)
        layer = find() if callable(find) else None
        own: Any = getattr(part, "output_layers", None)
        for linear in [layer, *(own() if own is not None else [])]:
            if isinstance(linear, nn.Linear):
                outputs.add(id(linear.weight))
    matrices, decayed, undecayed = [], [], []
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2 or id(parameter) in embeddings:
            undecayed.append(parameter)
        elif parameter.ndim > 2 or id(parameter) in outputs:
            decayed.append(parameter)
        else:
            matrices.append(parameter)
    return matrices, decayed, undecayed


def set_lr(optimizers: Iterable[Optimizer], factor: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def update(optimizer: Optimizer, finite: Tensor) -> None:
    """A step of the optimizer that changes nothing where `finite` is false, which the host need not know.

    Both optimizers that we build read `found_inf`, as torch's gradient scaler sets it for fused ones.
    """
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    try:
        optimizer.step()
    finally:
        del optimizer.found_inf, optimizer.grad_scale  # type: ignore[attr-defined]


def versions(parameters: Iterable[nn.Parameter]) -> list[int]:
    """A number for each that grows when it is changed in place, as a whole or in the rows that this rank holds."""
    return [parameter._version + local(parameter)._version for parameter in parameters]


def forget(optimizers: Iterable[Optimizer], parameters: Iterable[nn.Parameter]) -> None:
    """Reset the state of these parameters: momenta, variances and counts of steps become 0."""
    for parameter in parameters:
        for optimizer in optimizers:
            for value in optimizer.state.get(parameter, {}).values():
                value.zero_()


class Muon(Optimizer):
    """Momentum whose matrix is replaced by its nearest orthogonal one (Jordan 2024; scale of arXiv:2502.16982, eq. 4).

    The scale 0.2 * sqrt(max(shape)) gives updates the root mean square of AdamW's, so both share a learning rate.
    Newton-Schulz runs in bfloat16 on GPUs that have it, and with `narrow` on CPUs that have it (float64 gradients stay
    float64); equal shapes share one batched product.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
        narrow: bool = False,
    ):
        self.narrow = narrow
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[override]
        assert closure is None
        found_inf = getattr(self, "found_inf", None)  # as torch's gradient scaler sets it: 1 where nothing may change
        finite = None if found_inf is None else found_inf == 0
        if finite is not None and not host_waits(finite):
            if not bool(finite):
                return
            finite = None
        for group in self.param_groups:
            by_shape: dict[tuple, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[(*parameter.shape, parameter.dtype)].append(parameter)
            for same in by_shape.values():
                most = most_at_once(same[0]) if isinstance(same[0], DTensor) else len(same)
                for first in range(0, len(same), most):
                    self._update(same[first : first + most], group, finite)

    def _update(self, parameters: list[nn.Parameter], group: dict, finite: Tensor | None = None) -> None:
        """finite: where this truth value on the device is false, nothing changes; None: it is true.

        Each rank orthogonalises some of the matrices, and has no others whole; momenta and weights stay where they lie.
        """
        for parameter in parameters:
            if "momentum" not in self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [local(self.state[parameter]["momentum"]) for parameter in parameters]
        gradients = [local(parameter.grad) for parameter in parameters if parameter.grad is not None]
        if finite is not None:
            gradients = list(torch.where(finite, torch.stack(gradients), torch.stack(momenta)).unbind())
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])  # type: ignore[attr-defined]

        def direction(number: int) -> Tensor:
            return gradients[number].lerp(momenta[number], group["momentum"])  # Nesterov

        def work(matrices: Tensor) -> Tensor:
            updates = orthogonalize(matrices, group["steps"], narrow=self.narrow).to(matrices.dtype)
            return updates if finite is None else torch.where(finite, updates, 0.0)

        first, count = parameters[0], len(parameters)
        if isinstance(first, DTensor):
            updates = share_out(count, direction, first, work)
        else:  # of a module that this rank alone may have
            updates = work(torch.stack([direction(number) for number in range(count)])).unbind()
        decayed = 1 - group["lr"] * group["weight_decay"]
        if finite is not None:
            decayed = torch.where(finite, updates[0].new_full((), decayed), 1.0)
        weights = [local(parameter) for parameter in parameters]
        torch._foreach_mul_(weights, decayed)  # type: ignore[attr-defined]
        scale = 0.2 * math.sqrt(max(first.shape))
        torch._foreach_add_(weights, list(updates), alpha=-group["lr"] * scale)  # type: ignore[attr-defined]


def most_at_once(parameter: DTensor) -> int:
    """How many matrices of this shape are updated together, by all ranks that share them out."""
    return parameter.device_mesh.size() * max(1, AT_ONCE // parameter.numel())


def orthogonalize(matrices: Tensor, steps: int = 5, *, narrow: bool = False) -> Tensor:
    """Roughly U V^T of each matrix's singular value decomposition, by a quintic Newton-Schulz iteration.

    matrices: (count, rows, columns). Singular values come out between about 0.7 and 1.2, not exactly 1.
    narrow: matrices in float32 are multiplied in bfloat16 where the processor has it; GPUs that have it always do.
    """
    narrow = matrices.dtype == torch.float32 and (matrices.is_cuda or narrow) and native_bfloat16(matrices.is_cuda)
    x = matrices.bfloat16() if narrow else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    wide = x.shape[2] > 1.5 * x.shape[1] and not narrow  # the break-even of products; bfloat16 would lose too much
    x = small_side(x @ x.mT, steps) @ x if wide else newton_schulz(x, steps)
    return x.mT if tall else x


def newton_schulz(x: Tensor, steps: int) -> Tensor:
    """x <- (a + b x x' + c (x x')^2) x, `steps` times."""
    a, b, c = NEWTON_SCHULZ
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def small_side(gram: Tensor, steps: int) -> Tensor:
    """The product of the iteration's factors, from x x' alone: a third fewer operations where x is three times as wide.

    All factors are polynomials of one symmetric matrix, so they commute: (f x)(f x)' = f f x x'.
    """
    a, b, c = NEWTON_SCHULZ
    product = None
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor if product is None else factor @ product
        if step < steps - 1:
            gram = factor @ (factor @ gram)
    assert product is not None
    return product
