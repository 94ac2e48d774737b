"""The layers of a transformer: the depth of each parameter, frozen ones, and the width of what they hand on."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.modernbert.modeling_modernbert import ModernBertMLP

from textssl.distributed import world_size
from textssl.errors import UserError
from textssl.losses.cross_entropy import has_triton

log = logging.getLogger(__name__)

MOST_GRAPHS = 64  # of all layers: kinds of layers, training or not, with and without gradient, shapes fixed or not
NARROWING = ("cuda",)  # devices on which autocast keeps norms in float32
FUSING = ("cuda",)  # devices with kernels for gates
ROTARY = "RotaryEmbedding"  # how transformers ends the names of classes that make rotary positions
EMBEDDINGS = ("embed", "wte", "wpe", "tok_", "word_")  # how the names of embedding modules begin


def layer_depths(module: nn.Module) -> tuple[dict[str, int], int]:
    """(depth of each parameter by name, layers): 0 for embeddings, 1 to `layers` for layers, one more for the rest.

    The layers are the longest list of modules of one class inside; without one there are 0, and all depths are 1.
    """
    path, count = longest_list(module)
    depths = {}
    for name, _ in module.named_parameters():
        parts = name.split(".")
        below = parts[len(path)] if path and parts[: len(path)] == path else ""
        if below.isdigit():
            depths[name] = 1 + int(below)
        elif count and any(part.startswith(EMBEDDINGS) for part in parts):
            depths[name] = 0
        else:
            depths[name] = count + 1
    return depths, count


def transformer_layers(module: nn.Module) -> list[nn.Module]:
    """The layers of every transformer inside, teachers and decoders too: what is sharded and gathered one by one."""
    kinds = (GradientCheckpointingLayer, nn.TransformerDecoderLayer)
    return [part for part in module.modules() if isinstance(part, kinds)]


def longest_list(module: nn.Module) -> tuple[list[str], int]:
    """Path and length of the stack of layers: the ModuleList of one class that holds most parameters."""
    best: tuple[int, list[str], int] = (0, [], 0)
    for name, part in module.named_modules():
        if isinstance(part, nn.ModuleList) and len({type(layer) for layer in part}) == 1:
            size = sum(parameter.numel() for parameter in part.parameters())
            best = max(best, (size, name.split("."), len(part)), key=lambda found: found[0])
    return best[1], best[2]


def freeze_layers(module: nn.Module, count: int) -> None:
    """Embeddings and the lowest `count` layers stop learning, in place; 0 does nothing. Raises UserError."""
    if not count:
        return
    depths, layers = layer_depths(module)
    if count > layers:
        raise UserError(f"model.frozen_layers is {count}, but the model has {layers} layers")
    for name, parameter in module.named_parameters():
        if depths[name] <= count:
            parameter.requires_grad_(False)


def compile_layers(module: nn.Module, **options: Any) -> None:
    """torch.compile for a transformer, in place; names of parameters stay as they are.

    In one process as a whole. Of several each layer by itself: parameters are gathered between layers, where a graph
    would end anyway, in the middle of what it cannot look into. Layers of one kind share their graph.
    """
    fuse_gates(module)
    if world_size() == 1:
        compute_rotary_once(module)
        module.compile(**options)
        return
    for layer in transformer_layers(module) or [module]:
        layer.compile(recompile_limit=MOST_GRAPHS, **options)


class FusedGate(ModernBertMLP):
    """ModernBERT's feed-forward, whose gate and whose gate's gradient are a kernel each on GPUs (gate_kernel.py)."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        halves = self.Wi(hidden_states)
        if halves.device.type in FUSING and halves.dtype != torch.float64:
            gated = torch.ops.textssl.gated_gelu(halves)
        else:
            value, gate = halves.chunk(2, dim=-1)
            gated = self.act(value) * gate
        return self.Wo(self.drop(gated))


def fuse_gates(module: nn.Module) -> None:
    """Give every ModernBERT inside its kernels for gates, in place: where these are of gelu, there is Triton, and a
    trial on this machine's GPU gives the right numbers; where it does not, a line says so."""
    gates = [part for part in module.modules() if type(part) is ModernBertMLP]
    gates = [part for part in gates if part.config.hidden_activation == "gelu"]
    if not gates or not has_triton():
        return
    from textssl.models import gate_kernel

    why = gate_kernel.failed_trial("cuda") if torch.cuda.is_available() else None
    if why is not None:
        log.warning("ModernBERT's gates are torch's own, slower than their kernels, whose trial gave %s", why)
        return
    for part in gates:
        part.__class__ = FusedGate


def compute_rotary_once(module: nn.Module) -> None:
    """Let a compiled forward compute the cosines and sines of rotary positions once, in place.

    torch.compile would compute them again for every number of every head where they are read, in each layer's forward
    and backward, which takes a GPU longer than reading them: eight for each number of the queries.
    """
    for part in module.modules():
        if type(part).__name__.endswith(ROTARY):
            part.register_forward_hook(opaque_outputs)


def opaque_outputs(module: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> Any:
    """The cosines and sines that a module gives, which the compiler must not compute where they are read; what is no
    pair, as DeepSeek-V2's and Llama 4's complex numbers, is handed on."""
    pair = isinstance(outputs, tuple) and torch.compiler.is_compiling()
    return tuple(opaque(output) for output in outputs) if pair else outputs


@torch.library.custom_op("textssl::opaque", mutates_args=())
def opaque(values: Tensor) -> Tensor:
    """A copy; torch.compile does not look into an operation of one's own, and keeps its result for the backward."""
    return values.clone()


opaque.register_fake(torch.empty_like)


def narrow_residuals(module: nn.Module) -> None:
    """Let the layers of every transformer inside hand on states in autocast's type while autocast is on, in place.

    Embeddings give float32 there, and float32 plus bfloat16 is float32: the residual stream, and every element-wise
    operation on it, would move twice the bytes. On GPUs, where autocast makes norms compute and give float32 all the
    same, what comes after the last layer among them.
    """
    for layer in transformer_layers(module):
        layer.register_forward_pre_hook(narrow_states)


def narrow_states(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The inputs of a layer with its states, which come first, in the type of autocast."""
    states = inputs[0] if inputs else None
    if not isinstance(states, Tensor) or states.dtype != torch.float32 or states.device.type not in NARROWING:
        return None
    device = states.device.type
    return (states.to(torch.get_autocast_dtype(device)), *inputs[1:]) if torch.is_autocast_enabled(device) else None
