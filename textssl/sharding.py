"""Parameters over processes by torch's FSDP2: replicated, sharded, or both. One process needs none of it.

Every layer of a transformer is a unit of its own, gathered while it is at work, and what remains belongs to the root,
the objective. A forward enters through the root, or through one of its methods that `shard_module` was given: outside
of these a parameter is a DTensor, of which a rank holds some rows. Parameters without a dimension (a learned
temperature) have no rows: they are whole on every rank, and `finish_gradients` sums their gradients.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from textssl.distributed import rank, world_size
from textssl.errors import UserError

REACHED = "reached_parameters"  # attribute of a sharded module


def count_shards(wanted: int | Literal["all"], world: int) -> int:
    """How many parts the parameters have. Raises UserError where the processes cannot form such groups."""
    if wanted == "all":
        return world
    if world % wanted:
        raise UserError(
            f"train.shard is {wanted}, which does not divide the {world} process{'es' * (world > 1)} of this run: "
            "choose a divisor, 1 to replicate the parameters, or all to shard them over all processes"
        )
    return wanted


@functools.cache
def build_mesh(device: str, shards: int, timeout_seconds: float) -> DeviceMesh:
    """Processes in groups of `shards` neighbours, as (replicate, shard); (shard,) where there is one group."""
    world = world_size()
    if shards == world:
        return DeviceMesh.from_group(dist.group.WORLD, device, mesh_dim_names=("shard",))  # type: ignore[arg-type]
    ranks = torch.arange(world).view(-1, shards)
    copy, part = divmod(rank(), shards)
    timeout = timedelta(seconds=timeout_seconds)
    groups: list[Any] = [  # its own two: with those of all ranks, start-up would grow with their number
        dist.new_group(members.tolist(), timeout=timeout, use_local_synchronization=True)
        for members in (ranks[:, part], ranks[copy])
    ]
    return DeviceMesh.from_group(groups, device, mesh=ranks.int(), mesh_dim_names=("replicate", "shard"))


def shard_module(
    module: nn.Module,
    blocks: Iterable[nn.Module],
    methods: Iterable[str],
    *,
    device: torch.device,
    shards: int,
    timeout_seconds: float,
) -> None:
    """Put a module's parameters over all processes, in place; gradients are summed over them. Raises UserError where
    torch is too old for that.

    blocks: modules within it that are gathered one at a time. methods: of the module, besides `forward`, that use
    parameters. device: of this process; a module on the CPU comes to it block by block, and of each block its part
    stays. shards: parts of a parameter; each group of that many processes holds a copy of all parts.
    """
    check_torch()
    mesh = build_mesh(device.type, shards, timeout_seconds)
    scalars = {parameter for parameter in module.parameters() if parameter.ndim == 0}
    options: dict[str, Any] = {"mesh": mesh, "ignored_params": scalars, "reshard_after_forward": True}
    for block in blocks:  # gathered in float32, as autocast wants weights, norms and biases: it casts what it uses
        fully_shard(block, **options)
    fully_shard(module, **options)
    assert isinstance(module, FSDPModule)
    for tensor in [*scalars, *module.buffers()]:  # what torch does not move
        tensor.data = tensor.data.to(device)
    for part in module.modules():
        if isinstance(part, FSDPModule):
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)
    module.set_reduce_scatter_unused_params(True)  # a rank may have no sample for a layer that others use
    note_gradients(module)
    for name in methods:
        register_fsdp_forward_method(module, name)
    for name, parameter in module.named_parameters():
        assert isinstance(parameter, DTensor) or parameter.ndim == 0, f"{name} is not sharded"


def check_torch() -> None:
    """Raise UserError for a torch in which ranks that use different parameters would wait for each other forever."""
    if not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise UserError(f"training in several processes needs torch 2.13 or newer, and this is {torch.__version__}")


def exchange_gradients(module: nn.Module, now: bool) -> None:
    """Set whether the next backward sums gradients over the processes, as the last one of a step does."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(now)
        module.set_is_last_backward(now)


def note_gradients(module: nn.Module) -> None:
    """Let a sharded module note by name, in a set of its own, which parameters a backward on this rank reached."""
    reached: set[str] = set()
    hooked: set[str] = set()
    for unit in [part for part in module.modules() if isinstance(part, FSDPModule)]:
        unit.unshard()  # one after another: the whole of the module may not fit
        for name, parameter in module.named_parameters():
            if name not in hooked and not isinstance(parameter, DTensor) and parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(functools.partial(note, reached, name))
                hooked.add(name)
        unit.reshard()
    setattr(module, REACHED, reached)


def note(reached: set[str], name: str, parameter: Tensor) -> None:
    reached.add(name)


def finish_gradients(module: nn.Module) -> None:
    """After the last backward of a step: sum the gradients of parameters without a dimension, in one message, and give
    None to those that took part on no rank, as one process would; on some, the others count as zero."""
    reached = getattr(module, REACHED, None)
    if reached is None:
        return
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    scalars = [parameter for _, parameter in named if parameter.ndim == 0]
    flags = torch.tensor([float(name in reached) for name, _ in named], dtype=torch.float64)
    unreached = [place for place, (name, _) in enumerate(named) if name not in reached]
    parts = [torch.zeros((), dtype=torch.float64) if p.grad is None else p.grad.double() for p in scalars]
    device = named[0][1].device
    message = torch.cat([flags.to(device), *(part.to(device).view(1) for part in parts)])
    dist.all_reduce(message)
    reached.clear()
    for parameter, total in zip(scalars, message[len(named) :].unbind(), strict=True):
        parameter.grad = total.to(parameter.dtype)
    if unreached:  # on this rank: else it waits for no answer
        counts = message[: len(named)].tolist()
        for place in unreached:
            if not counts[place]:
                named[place][1].grad = None


@torch.no_grad()
def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> Tensor:
    """Scale gradients down so that the norm of all of them, over all ranks, is at most `most`; returns the norm."""
    if not any(isinstance(parameter, DTensor) for parameter in parameters):
        return nn.utils.clip_grad_norm_(parameters, most)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    owned = [local(gradient) for gradient in gradients if isinstance(gradient, DTensor)]
    whole = [gradient for gradient in gradients if not isinstance(gradient, DTensor)]
    squares = torch.stack([norm.double() for norm in torch._foreach_norm(owned)]).square().sum()  # type: ignore[attr-defined]
    group = shard_group(next(parameter for parameter in parameters if isinstance(parameter, DTensor)))
    if group is not None:
        dist.all_reduce(squares, group=group)
    squares = squares + sum(gradient.double().square() for gradient in whole)
    norm = squares.sqrt().to(owned[0].dtype)
    factor = (most / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([*owned, *whole], factor)  # type: ignore[attr-defined]
    return norm


def shard_group(tensor: DTensor) -> dist.ProcessGroup | None:
    """The processes that hold the parts of a tensor; None where one holds all of it."""
    mesh = tensor.device_mesh
    return mesh.get_group("shard") if mesh.size(mesh.ndim - 1) > 1 else None


def local(tensor: Tensor) -> Tensor:
    """The rows that this rank holds, as a view; all of a tensor that is not sharded."""
    return tensor._local_tensor if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All rows, on every rank; all ranks must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_rows(tensor: Tensor) -> slice:
    """Which rows of a parameter this rank holds."""
    if not isinstance(tensor, DTensor):
        return slice(None)
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return slice(offset[0], offset[0] + shape[0])


def place_of(module: nn.Module) -> tuple[int, int, bool]:
    """Which part of a module this rank holds, of how many, and whether a rank before it holds the same."""
    for parameter in module.parameters():
        if isinstance(parameter, DTensor):
            *copy, part = parameter.device_mesh.get_coordinate() or [0]
            return part, parameter.device_mesh.size(parameter.device_mesh.ndim - 1), any(copy)
    return 0, 1, rank() > 0


def held_alone(tensor: Tensor) -> bool:
    """Whether every rank holds all of a tensor, or this one has no rows of it: then others write it."""
    return not isinstance(tensor, DTensor) or not len(local(tensor))


@torch.no_grad()
def overwrite(target: Tensor, values: Tensor) -> None:
    """Put whole values into a tensor that may be sharded, in place."""
    local(target).copy_(values[own_rows(target)] if isinstance(target, DTensor) else values)


def sharded_like(parameter: Tensor, own: Tensor) -> Tensor:
    """A tensor sharded over the processes like a parameter. own: the rows of it that this rank holds."""
    if not isinstance(parameter, DTensor):
        return own
    return DTensor.from_local(
        *(own, parameter.device_mesh, parameter.placements),
        run_check=False,
        shape=parameter.shape,
        stride=parameter.stride(),
    )


def share_out(
    count: int, rows_of: Callable[[int], Tensor], parameter: DTensor, work: Callable[[Tensor], Tensor]
) -> Sequence[Tensor]:
    """`work` on so many matrices of the parameter's shape, each on one rank, which alone has all of it; every rank must
    call it, and gets of each result the rows that it holds of the parameter.

    rows_of: these rows of a matrix, by its number, in the parameter's type; asked for those alone that ranks of this
    group work on. work: from (matrices, rows, columns) to the same shape and type.
    """
    mesh, group, (held, columns) = parameter.device_mesh, shard_group(parameter), local(parameter).shape
    ranks, shards = mesh.size(), mesh.size(mesh.ndim - 1)
    share, first = -(-count // ranks), rank() // shards * shards  # the first rank of this group
    bounds = [min(share * one, count) for one in range(first, first + shards + 1)]
    numbers = [end - begin for begin, end in itertools.pairwise(bounds)]  # of matrices, by rank of the group
    most, own = -(-len(parameter) // shards), numbers[rank() - first]
    rows = [max(0, min(most, len(parameter) - part * most)) for part in range(shards)]  # held by rank of the group
    parts = [rows_of(number) for number in range(bounds[0], bounds[-1])]
    matrices = torch.stack(parts) if parts else local(parameter).new_empty(0, held, columns)
    if group is not None:
        pieces = exchange(matrices.split(numbers), [own * size * columns for size in rows], group)
        matrices = torch.cat([piece.view(own, -1, columns) for piece in pieces if len(piece)] or [matrices[:0]], dim=1)
        del parts, pieces  # before the work, which takes most room
    results = work(matrices) if own else matrices
    if group is not None:
        sent = results.split(rows, dim=1) if own else [matrices[:0]] * shards
        pieces = exchange(sent, [number * held * columns for number in numbers], group)
        results = torch.cat(pieces).view(-1, held, columns) if held else results
    if shards == ranks or not held:
        return results.unbind() if held else [results.new_empty(0, columns)] * count
    padded = results.new_zeros(share * shards, held, columns)
    padded[: len(results)] = results
    received = padded.new_empty(ranks // shards * len(padded), held, columns)
    dist.all_gather_single(received, padded, group=mesh.get_group("replicate"))
    return received[:count].unbind()


def exchange(sent: Sequence[Tensor], sizes: list[int], group: dist.ProcessGroup) -> list[Tensor]:
    """What the ranks of a group have for this one, flat. sent: for each of them. sizes: numbers that each has."""
    message = torch.cat([one.flatten() for one in sent])
    received = message.new_empty(sum(sizes))
    dist.all_to_all_single(received, message, sizes, [one.numel() for one in sent], group=group)
    return list(received.split(sizes))


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Within the block the first rank's parameters are whole, plain copies, to be exported; every rank must enter it.

    They and its buffers are on the CPU: a device may not have room for all. The other ranks keep their parts, and
    nothing may run a forward.
    """
    if not isinstance(module, FSDPModule):
        yield
        return
    copies: dict[Tensor | None, Tensor] = {}
    for parameter in module.parameters():
        complete = whole(parameter.detach())
        if rank() == 0:
            copies[parameter] = nn.Parameter(complete.cpu(), requires_grad=parameter.requires_grad)
        del complete  # before the next one is gathered
    if rank() == 0:
        copies |= {buffer: buffer.cpu() for buffer in module.buffers()}
    holders: list[dict[str, Any]] = [
        holder for part in module.modules() for holder in (part._parameters, part._buffers)
    ]
    places = [(holder, name, held) for holder in holders for name, held in holder.items() if held in copies]
    for holder, name, held in places:
        holder[name] = copies[held]
    try:
        yield
    finally:
        for holder, name, held in places:
            holder[name] = held
