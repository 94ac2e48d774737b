"""Run under torchrun: a small sharded module against a whole one, step by step. Not a test itself.

torchrun --nproc_per_node N tests/sharded.py FOLDER SHARDS
"""

import copy
import sys
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tests.models.small import make_rows, small_model
from textssl.distributed import (
    agree,
    broadcast_module,
    from_every_rank,
    join_processes,
    most_over_ranks,
    rank,
    reason_of_any,
    world_size,
)
from textssl.errors import UserError
from textssl.models.heads import LanguageModel
from textssl.models.layers import transformer_layers
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
from textssl.training.optimizer import build_optimizer, update
from textssl.training.precision import computing_in

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


def compare(
    module: nn.Module, reference: nn.Module, what: str, *, gradients: bool = False, close: float = 1e-12
) -> None:
    for (name, found), (_, expected) in zip(module.named_parameters(), reference.named_parameters(), strict=True):
        if gradients:
            assert (found.grad is None) == (expected.grad is None), (what, name)
            if expected.grad is None:
                continue
            assert found.grad is not None
            found, expected = whole(found.grad), expected.grad
        assert torch.allclose(whole(found.detach()), expected, rtol=0, atol=close), (what, name)


class Parted(nn.Module):
    """A layer of which a forward reaches one half, or both, and never `idle`."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.idle = nn.Linear(8, 8)

    def forward(self, x: Tensor, both: bool) -> Tensor:
        assert self.norm.weight.dtype == torch.float32 and not torch.is_autocast_cache_enabled()
        x = self.first(self.norm(x)).tanh()
        return self.second(x) if both else x


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.last = nn.ModuleList([Parted(), Parted()]), nn.Linear(8, 4)

    def forward(self, x: Tensor, both: bool) -> Tensor:
        for layer in self.layers:
            x = layer(x, both)
        return self.last(x).float().square().sum()


def check_half(device: torch.device, shards: int) -> None:
    """In bfloat16, where some weights of a layer take part in no micro-batch, others in one alone: the gradients of one
    process to bfloat16's rounding, in float32."""
    torch.manual_seed(0)
    reference, samples = Half(), torch.randn(SAMPLES, 8)
    module = copy.deepcopy(reference)
    shard_module(*(module, module.layers, []), device=device, shards=shards, timeout_seconds=60)
    for number, part in enumerate(halves(samples, rank())):
        exchange_gradients(module, now=number == 1)
        with computing_in("bfloat16", device):
            loss = module(part, number == 1)
        loss.backward()
    finish_gradients(module)
    for other in range(world_size()):
        for number, part in enumerate(halves(samples, other)):
            with computing_in("bfloat16", device):
                loss = reference(part, number == 1)
            loss.backward()
    for (name, found), (_, expected) in zip(module.named_parameters(), reference.named_parameters(), strict=True):
        assert (found.grad is None) == (expected.grad is None) == ("idle" in name), name
        if expected.grad is not None:
            assert found.grad is not None and found.grad.dtype == torch.float32, name
            apart = (whole(found.grad) - expected.grad).norm() / expected.grad.norm()
            assert apart < 1e-5, (name, apart)


def halves(samples: Tensor, owner: int) -> tuple[Tensor, Tensor]:
    """The two micro-batches of a rank."""
    own = samples[owner :: world_size()]
    return own[:2], own[2:]


def check_compiled(device: torch.device) -> None:
    """Layers that are compiled and sharded: the gradients of one process that compiles nothing, in as many graphs as
    there are kinds of layers."""
    reference = LanguageModel(small_model("modernbert", num_hidden_layers=4))
    module, compiled = copy.deepcopy(reference), []
    module.compile(backend=lambda graph, inputs: compiled.append(graph) or graph.forward)
    shard_module(*(module, transformer_layers(module), []), device=device, shards=2, timeout_seconds=60)
    rows = [make_rows([[6, 4]], 10), make_rows([[3, 7]], 10, seed=1)]
    module(rows[rank()]).square().sum().backward()
    finish_gradients(module)
    for batch in rows:
        reference(batch).square().sum().backward()
    compare(module, reference, "compiled", gradients=True, close=1e-3)
    assert len(compiled) == 2, len(compiled)  # the first layer has no norm before its attention


def check_broadcast(device: torch.device) -> None:
    """Every rank gets the numbers of the first one, parameters and buffers."""
    torch.manual_seed(rank())
    module = Small()
    module.get_buffer("seen").fill_(rank())
    broadcast_module(module, device)
    torch.manual_seed(0)
    compare(module, Small(), "broadcast")
    assert not module.get_buffer("seen").any()


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
    check_broadcast(accelerator.device)
    check_half(accelerator.device, shards)
    if world_size() == 2:
        check_compiled(accelerator.device)
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
    moved: list[Tensor] = []
    with mock.patch.object(Tensor, "cpu", lambda tensor: moved.append(tensor) or tensor), gathered(module):
        assert len(moved) == (len([*module.parameters(), *module.buffers()]) if rank() == 0 else 0)
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
