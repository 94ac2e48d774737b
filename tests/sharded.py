"""Run under torchrun: a small sharded module against a whole one, step by step. Not a test itself.

torchrun --nproc_per_node N tests/sharded.py FOLDER SHARDS
"""

import copy
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from textssl.assembly.fitting import reason_of_any
from textssl.distributed import agree, from_every_rank, join_processes, most_over_ranks, rank, world_size
from textssl.errors import UserError
from textssl.sections import OptimizerConfig
from textssl.sharding import (
    clip_gradients,
    exchange_gradients,
    finish_gradients,
    gathered,
    local,
    overwrite,
    own_rows,
    shard_module,
    share_out,
    whole,
)
from textssl.training.checkpoint import restore_checkpoint, save_checkpoint
from textssl.training.optimizer import build_optimizer
from textssl.training.step import update

STEPS, SAMPLES = 4, 12
OPTIONS = OptimizerConfig(name="muon", lr=0.01, weight_decay=0.1, eps=1e-2)


class Small(nn.Module):
    """Rows that no number of ranks divides, two matrices of one shape, a scalar, and weights that take no part."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(5, 5), nn.Linear(5, 5)])
        self.last = nn.Linear(5, 2, bias=False)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Linear(3, 3)
        self.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
        self.register_buffer("seen", torch.zeros(2))

    def forward(self, x: Tensor, extra: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x).tanh()
        return self.last(x).square().sum() * self.frozen.mean() + (0.0 if extra is None else self.of_scale(extra))

    def of_scale(self, x: Tensor) -> Tensor:
        return (self.scale * self.last.weight).square().sum() * x.sum()

    def scaled(self, x: Tensor) -> Tensor:
        """A way in beside `forward`."""
        return self.of_scale(x)


def gradient(module: Small, parts: list[Tensor], extra: Tensor) -> None:
    """Of the samples of this rank; what the scalar takes part in, only the last part of the first rank has."""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        exchange_gradients(module, now=last)
        module(part, extra if last and rank() == 0 else None).backward()
    module.scaled(0 * extra).detach()  # a method that was registered
    finish_gradients(module)


def compare(module: nn.Module, reference: nn.Module, what: str, *, gradients: bool = False) -> None:
    for (name, found), (_, expected) in zip(module.named_parameters(), reference.named_parameters(), strict=True):
        if gradients:
            assert (found.grad is None) == (expected.grad is None), (what, name)
            if expected.grad is None:
                continue
            assert found.grad is not None
            found, expected = whole(found.grad), expected.grad
        assert torch.allclose(whole(found.detach()), expected, rtol=0, atol=1e-12), (what, name)


def check_agreement() -> None:
    """The ranks after the first one fail, each in its own words: all hear the first of them; then all get on."""

    def fail() -> None:
        if rank() > 0:
            raise UserError(f"rank {rank()} cannot")

    try:
        agree(fail)
        raise AssertionError("an error of other ranks went unheard")
    except UserError as error:
        assert str(error) == "rank 1 cannot"
    assert agree(lambda: rank() * 7) == rank() * 7
    assert reason_of_any(lambda: f"rank {rank()} cannot" if rank() else None) == "rank 1 cannot"
    assert reason_of_any(lambda: None) is None
    everyone = list(range(world_size()))
    assert from_every_rank(rank) == (everyone if rank() == 0 else [rank()])
    assert most_over_ranks([rank(), 5, -rank()]) == [world_size() - 1, 5, 0]


def check_sharing(parameter: DTensor) -> None:
    """Work that needs whole matrices, fewer and more of them than ranks: results are those of one process, and no rank
    is given more than its share. parameter: of more rows than ranks, or of fewer."""
    for count in (1, world_size(), 2 * world_size() + 1):
        generator, given = torch.Generator().manual_seed(count), []
        matrices = torch.randn(count, *parameter.shape, generator=generator, dtype=parameter.dtype)

        def work(whole: Tensor, given=given) -> Tensor:
            given.append(len(whole))
            return whole / whole.norm(dim=(1, 2), keepdim=True)

        rows = own_rows(parameter)
        found = share_out(count, lambda number, matrices=matrices, rows=rows: matrices[number, rows], parameter, work)
        for result, expected in zip(found, work(matrices), strict=True):
            assert torch.equal(result, expected[rows]), count
        assert sum(given[:-1]) <= -(-count // world_size())


def check(folder: Path, shards: int) -> None:
    torch.manual_seed(0)
    reference = Small().double()
    fresh = copy.deepcopy(reference)
    module = copy.deepcopy(reference)
    accelerator = join_processes("cpu", 60)
    check_agreement()
    shard_module(*(module, module.layers, ["scaled"]), device=accelerator.device, shards=shards, timeout_seconds=60)
    assert isinstance(module.last.weight, DTensor) and not isinstance(module.scale, DTensor)
    assert len(local(module.last.weight)) <= -(-2 // shards)
    for parameter in (module.layers[0].weight, module.last.weight):
        assert isinstance(parameter, DTensor)
        check_sharing(parameter)
    optimizers, plain = build_optimizer(module, OPTIONS), build_optimizer(reference, OPTIONS)
    samples = torch.randn(STEPS, SAMPLES, 5, dtype=torch.float64)
    for step in range(STEPS):
        own = samples[step, rank() :: world_size()]
        gradient(module, [own[:1], own[1:]], samples[step, 0])
        reference(samples[step]).backward()
        reference.scaled(samples[step, 0]).backward()
        compare(module, reference, "gradient", gradients=True)
        norms = [clip_gradients([p for p in one.parameters() if p.requires_grad], 0.5) for one in (module, reference)]
        assert torch.allclose(*norms, rtol=1e-12), "norm"
        compare(module, reference, "clipped", gradients=True)
        finite = torch.tensor(step != 2)  # one step changes nothing
        for optimizer in (*optimizers, *plain):
            update(optimizer, finite)
        compare(module, reference, "weights")
        for one in (module, reference):
            one.zero_grad()
    with gathered(module):
        if rank() == 0:
            assert torch.equal(module.state_dict()["last.weight"], module.last.weight)
            compare(nn.ModuleList(module.layers), nn.ModuleList(reference.layers), "gathered")
    assert isinstance(module.last.weight, DTensor)
    path = save_checkpoint(folder, 1, module, optimizers, {"step": 1}, keep=1)
    others = build_optimizer(fresh, OPTIONS)
    restore_checkpoint(path, fresh, others)
    compare(module, fresh, "restored")
    for parameter, copied in zip(module.parameters(), fresh.parameters(), strict=True):
        for optimizer, other in zip(optimizers, others, strict=True):
            for key, value in optimizer.state.get(parameter, {}).items():
                assert torch.equal(whole(value), other.state[copied][key]), key
    before = [whole(parameter).clone() for parameter in module.parameters()]
    for parameter in module.parameters():
        overwrite(parameter, torch.full(parameter.shape, 7.0))
    restore_checkpoint(path, module, optimizers)
    assert all(torch.equal(whole(p), old) for p, old in zip(module.parameters(), before, strict=True)), "put back"


if __name__ == "__main__":
    torch.set_num_threads(1)
    check(Path(sys.argv[1]), int(sys.argv[2]))
