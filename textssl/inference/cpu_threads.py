"""Forward passes side by side on a CPU: each batch on one compute thread, linear layers prepared once.

A batch on one thread meets no barrier between threads, keeps its activations in that core's cache, and gives the same
bits whatever the number of threads, lanes or processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation

Work = TypeVar("Work")
Result = TypeVar("Result")
WAITING = 2  # batches per lane: one being computed, one ready


class Lanes:
    """`count` threads that each run whole batches; a single lane is the caller's thread, with torch's own threads."""

    def __init__(self, count: int) -> None:
        self.pool: ThreadPoolExecutor | None = None
        self.count = count
        if count == 1:
            return
        before = torch.get_num_threads()
        ready = Barrier(count)
        self.pool = ThreadPoolExecutor(count)
        for started in [self.pool.submit(_one_compute_thread, ready) for _ in range(count)]:
            started.result()
        torch.set_num_threads(before)  # the lanes changed what later threads start with

    def map(self, function: Callable[[Work], Result], works: Iterable[Work]) -> Iterator[tuple[Work, Result]]:
        """Each work with its result, in order; a bounded number is in flight. When the caller stops, no further one is
        begun."""
        if self.pool is None:
            for work in works:
                yield work, function(work)
            return
        flying: deque[tuple[Work, Future[Result]]] = deque()
        try:
            for work in works:
                flying.append((work, self.pool.submit(function, work)))
                if len(flying) > WAITING * self.count:
                    done, future = flying.popleft()
                    yield done, future.result()
            while flying:
                done, future = flying.popleft()
                yield done, future.result()
        finally:
            for _, future in flying:
                future.cancel()

    def __enter__(self) -> Lanes:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)


def _one_compute_thread(ready: Barrier) -> None:
    torch.get_num_threads()  # the first such call in a thread sets the process's count in it, which must not come later
    torch.set_num_threads(1)  # of this thread alone, as OpenMP and MKL count
    ready.wait()  # so that every lane gets one


class PackedLinear(nn.Module):
    """A linear layer for inference on a CPU, whose weight oneDNN has laid out for its kernels in advance.

    after: "gelu" to apply the exact GELU while the result is in the cache, or "none".
    """

    def __init__(self, linear: nn.Linear, after: str = "none") -> None:
        super().__init__()
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = None if linear.bias is None else linear.bias.detach()
        self.after = after

    def forward(self, input: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, self.after, [], "none")


def pack_linears(module: nn.Module) -> None:
    """Replace the linear layers of a model that is used for inference only, in place; only those in float32 on a CPU
    with oneDNN."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return
    if isinstance(getattr(module, "intermediate_act_fn", None), GELUActivation):  # BERT and its kin: dense, then this
        dense = getattr(module, "dense", None)
        if isinstance(dense, nn.Linear) and packable(dense):
            module.dense, module.intermediate_act_fn = PackedLinear(dense, "gelu"), nn.Identity()
    for name, child in module.named_children():
        if not isinstance(child, nn.Linear):
            pack_linears(child)
        elif packable(child):
            setattr(module, name, PackedLinear(child))


def packable(linear: nn.Linear) -> bool:
    plain = type(linear) is nn.Linear and linear.weight.dtype == torch.float32
    return plain and linear.weight.device.type == "cpu"
