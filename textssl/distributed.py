"""Sums and gathers over processes; with one process every function is the identity.

Gradients are SUMMED, never averaged (textssl.sharding): the trainer divides each term by its global count before the
backward, so their sum is exactly what one process with all the data would have.
"""

from __future__ import annotations

import atexit
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import check_cuda_p2p_ib_support
from torch import Tensor

from textssl.errors import UserError
from textssl.system.launch.settings import PREFIXES
from textssl.system.launch.store import launch_arguments

_failures: list[bool] = []


@dataclass(frozen=True)
class Accelerator:
    """Where a run computes: the device of this process, and how many processes train together."""

    device: torch.device
    num_processes: int = 1


def join_processes(device: Literal["cpu", "cuda"], timeout_seconds: float) -> Accelerator:
    """Find the other processes of a launch with Accelerate; without a launch there is this one alone.

    timeout_seconds: how long a rank waits for the others, in the first run of a program and in all after it. Raises
    UserError where processes of the launch did not find each other, or met on another device.
    """
    timeout = timedelta(seconds=timeout_seconds)
    with without_settings(), telling_of_absent(timeout_seconds):
        if device == "cuda" and not check_cuda_p2p_ib_support():  # RTX 40 with old drivers; its launcher does so too
            for name in ("NCCL_P2P_DISABLE", "NCCL_IB_DISABLE"):
                os.environ.setdefault(name, "1")
        arguments = {} if dist.is_initialized() else launch_arguments(device, timeout)
        state: Any = PartialState(cpu=device == "cpu", timeout=timeout, **arguments)
    check_world(state.num_processes)
    if state.num_processes == 1:
        return Accelerator(torch.device(device))  # the state is of the program: its device is that of the first run
    if state.device.type != device:
        raise UserError(
            f"train.device asks for {device}, but an earlier run of this program joined its {state.num_processes} "
            f"processes on {state.device.type}, which holds until they end: start this run in a program of its own"
        )
    leave_at_exit()
    if world_size() > 1:
        with telling_of_absent(timeout_seconds):
            meet(state.device, timeout)
    return Accelerator(state.device, state.num_processes)


@contextmanager
def telling_of_absent(timeout_seconds: float) -> Iterator[None]:
    """Turn the error of a store in which other processes were awaited in vain into a UserError."""
    try:
        yield
    except dist.DistError as error:
        raise UserError(
            f"the processes of the launch did not find each other in {timeout_seconds:g} seconds "
            f"(train.timeout_seconds): {str(error).splitlines()[0]}; see what those said that are missing"
        ) from error


def meet(device: torch.device, timeout: timedelta) -> None:
    """Wait until all processes are here, as gloo does where a group is made; NCCL does it in its first message, where
    nothing interrupts it. Raises UserError where another process has the same GPU.
    """
    store: Any = dist.distributed_c10d._get_default_store()
    if device.type == "cuda":
        own = f"rank {rank()} on {platform.node()}"
        gpu = torch.cuda.get_device_properties(device).uuid
        other = store.compare_set(f"textssl/gpu/{gpu}", "", own).decode()
        if other != own:
            raise UserError(
                f"{own} has the same GPU as {other}: start one process for each GPU of a host, "
                f"{torch.cuda.device_count()} here"
            )
    if store.add("textssl/met", 1) == world_size():
        store.set("textssl/all met", "1")
    store.wait(["textssl/all met"], timeout)


@contextmanager
def without_settings() -> Iterator[None]:
    """Hide the environment variables by which Accelerate, and transformers for it, would change a run: its
    configuration alone decides."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIXES)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def launched_rank() -> int:
    """The rank that torchrun gave this process, whether or not the processes have found each other."""
    return int(os.environ.get("RANK", "0")) if launched_world() > 1 else rank()


def first_of_host() -> bool:
    """Whether torchrun started no process before this one on its host."""
    return int(os.environ.get("LOCAL_RANK") or 0) == 0


def launched_world() -> int:
    """How many processes torchrun started, whether or not they have found each other."""
    return int(os.environ.get("WORLD_SIZE") or world_size())


def check_world(processes: int) -> None:
    """Raise UserError for a launch that made several worlds of one process (WORLD_SIZE without a process group)."""
    expected = launched_world()
    if expected != processes:
        raise UserError(
            f"WORLD_SIZE is {expected} but {processes} process(es) found each other: "
            "start with torchrun --nproc_per_node N -m textssl ..."
        )


def leave_at_exit() -> None:
    """Close the process group when the program ends; a second run in the same program still finds it."""
    if world_size() > 1:
        atexit.register(leave_group)


def leave_group() -> None:
    """Close the process group. After `note_failure` NCCL's connections are cut: to close them it waits for the other
    ranks of the host, which wait for this one, and torchrun for its end."""
    if not dist.is_initialized():
        return
    if _failures and on_gpu():
        dist.distributed_c10d._abort_process_group()
    else:
        dist.destroy_process_group()


def note_failure() -> None:
    """An error is ending this process, which the others may not know of."""
    _failures.append(True)


def on_gpu() -> bool:
    """Whether messages to other ranks go from GPU to GPU, and none from the host."""
    return dist.distributed_c10d._get_object_coll_device() == "cuda"


def barrier() -> None:
    if world_size() > 1:
        dist.barrier(device_ids=[torch.cuda.current_device()] if on_gpu() else None)  # else torch says that it guesses


def sum_over_ranks(values: Sequence[float], device: torch.device | str = "cpu") -> list[float]:
    """Element-wise sum in float64, the same on every rank."""
    if world_size() == 1 or not values:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return total.tolist()


def most_over_ranks(values: Sequence[int], device: torch.device | str = "cpu") -> list[int]:
    """Element-wise maximum, the same on every rank."""
    if world_size() == 1 or not values:
        return list(values)
    most = torch.tensor(values, dtype=torch.int64, device=device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return most.tolist()


def sum_tensor(values: Tensor) -> Tensor:
    """Element-wise sum, the same on every rank, on its device: the host need not wait for it."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values


def broadcast_object(value):
    """Rank 0's value on every rank."""
    box = [value]
    if world_size() > 1:
        dist.broadcast_object_list(box, src=0)
    return box[0]


def from_first_rank(make: Callable[[], Any]) -> Any:
    """What `make` returns on rank 0, made there alone; a UserError of rank 0 is raised on every rank."""
    outcome: Any = None
    if rank() == 0:
        try:
            outcome = make()
        except UserError as error:
            outcome = error
    outcome = broadcast_object(outcome)
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def from_every_rank(make: Callable[[], Any]) -> list[Any]:
    """What `make` returns on each rank, in their order, for the first rank; the others get their own alone. A UserError
    of one rank is raised on every rank."""
    outcomes: list[Any] = [agree(make)]
    if world_size() > 1:
        gathered = [None] * world_size() if rank() == 0 else None
        dist.gather_object(outcomes[0], gathered)
        outcomes = gathered or outcomes
    return outcomes


def reason_of_any(find: Callable[[], str | None]) -> str | None:
    """What `find` gives on the first of the ranks where it gives something, the same on every rank."""
    return broadcast_object(next((reason for reason in from_every_rank(find) if reason is not None), None))


def agree(make: Callable[[], Any]) -> Any:
    """What `make` returns, on each rank its own; a UserError of one rank is raised on every rank.

    One small message, whatever the number of ranks, where all goes well.
    """
    if world_size() == 1:
        return make()
    outcome = error = None
    try:
        outcome = make()
    except UserError as wrong:
        error = wrong
    device = dist.distributed_c10d._get_object_coll_device()  # NCCL sends nothing from the host
    (failed,) = most_over_ranks([0 if error is None else world_size() - rank()], device)
    if failed:  # of several errors that of the first rank
        box = [error]
        dist.broadcast_object_list(box, src=world_size() - failed)
        assert box[0] is not None
        raise box[0]
    return outcome


def check_alike(own: dict[str, Any]) -> None:
    """Raise UserError on every rank where something of one is not as on the first. own: by the name of its key."""
    first = broadcast_object(own)

    def refuse() -> None:
        if apart := [key for key in {**first, **own} if first.get(key) != own.get(key)]:
            words = f"rank {rank()} on {platform.node()} and rank 0 differ in {', '.join(apart)}"
            raise UserError(f"{words}: start the same command on every host, with files that hold the same")

    agree(refuse)  # in the one message that it sends where all are alike


def broadcast_module(module: torch.nn.Module, device: torch.device) -> None:
    """Rank 0's parameters and buffers on every rank: machines round differently, and replicas must start alike."""
    broadcast_tensors([*module.parameters(), *module.buffers()], device)


def broadcast_tensors(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Rank 0's values in these tensors of every rank, in place.

    They stay where they are, and pass through the device one by one: NCCL sends nothing from the host.
    """
    if world_size() > 1:
        for tensor in tensors:
            sent = tensor.data.to(device)
            dist.broadcast(sent, src=0)
            tensor.data.copy_(sent)


def gather_rows(tensor: Tensor) -> Tensor:
    """(rows, ...) of every rank, which may differ in number, as (sum of rows, ...) in rank order; no gradient flows."""
    if world_size() == 1:
        return tensor
    counts = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(tensor)], device=tensor.device))
    sizes = torch.cat(counts).tolist()  # together: each would be waited for
    padded = tensor.new_zeros(max(sizes), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded.contiguous())
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
