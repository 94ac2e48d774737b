"""What a run needs of each GPU's memory, worked out from shapes alone: parameters, gradients, optimizer state.

python scripts/memory.py              the table of docs/sharding.md, as Markdown
python scripts/memory.py --measure    the same sums for small presets, against the bytes that real processes hold (CPU)

All that is kept is float32, also where layers compute in bfloat16: a parameter, its gradient, two moments of AdamW, or
one momentum of Muon for hidden matrices. Autocast makes copies in bfloat16 of what a layer uses, which the backward
reads. Sharded over N, a rank holds the rows that torch.chunk gives it, and the first rank never fewer than another.
Models are built on the meta device, where they have shapes and no memory.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from textssl.models.layers import transformer_layers  # noqa: E402
from textssl.models.presets import PRESETS  # noqa: E402
from textssl.training.optimizer import AT_ONCE, parameter_groups  # noqa: E402

FLOAT, HALF = 4, 2  # bytes
GB = 1e9
ORTHOGONALISED = 5  # times a stack of matrices: itself, its copy and products in bfloat16, and the result
TOKENS = 8_192  # of a micro-batch, for activations
LLAMA_3: dict[str, Any] = {"model_type": "llama", "vocab_size": 128_256, "num_key_value_heads": 8}
MODELS: dict[str, dict[str, Any]] = {  # presets with the vocabulary that they are known for, and public shapes
    "modernbert-base": {**PRESETS["modernbert-base"], "vocab_size": 50_368},
    "llama-base": {**PRESETS["llama-base"], "vocab_size": 50_257},
    "Llama 3.2 1B": {
        **LLAMA_3,
        **{"hidden_size": 2_048, "num_hidden_layers": 16, "num_attention_heads": 32, "intermediate_size": 8_192},
        "tie_word_embeddings": True,
    },
    "Llama 3.2 3B": {
        **LLAMA_3,
        **{"hidden_size": 3_072, "num_hidden_layers": 28, "num_attention_heads": 24, "intermediate_size": 8_192},
        "tie_word_embeddings": True,
    },
    "Llama 3 8B": {
        **LLAMA_3,
        **{"hidden_size": 4_096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 14_336},
        "tie_word_embeddings": False,
    },
}
LAYOUTS = ((1, 1), (8, 8), (64, 1), (64, 8), (64, 64))  # ranks, train.shard
MEASURED = {1: (1,), 2: (1, 2), 4: (1, 2, 4)}  # the same, of --measure
TRIED = (("llama-nano", "muon"), ("modernbert-nano", "adamw"))


def build(config: dict[str, Any]) -> nn.Module:
    """A language model on the meta device."""
    values = dict(config)
    kind = values.pop("model_type")
    values.setdefault("pad_token_id", 0)
    factory = AutoModelForMaskedLM if kind in ("modernbert", "bert") else AutoModelForCausalLM
    with torch.device("meta"):
        return factory.from_config(AutoConfig.for_model(kind, **values))


@dataclass(frozen=True)
class Held:
    """Bytes on the rank that holds most."""

    parameters: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimizer


def rows_of(parameter: nn.Parameter, shards: int, part: int = 0) -> int:
    """How many numbers of a parameter one of its parts holds."""
    if parameter.ndim == 0:
        return 1
    rows = parameter.shape[0]
    most = -(-rows // shards)
    return max(0, min(most, rows - part * most)) * (parameter.numel() // rows)


def held(module: nn.Module, optimizer: str, shards: int, part: int = 0) -> Held:
    matrices, *_ = parameter_groups(module)
    by_muon = {id(one) for one in matrices} if optimizer == "muon" else set()
    parameters = gradients = state = 0
    for parameter in module.parameters():
        own = FLOAT * rows_of(parameter, shards, part)
        parameters += own
        if parameter.requires_grad:
            gradients += own
            state += own if id(parameter) in by_muon else 2 * own + FLOAT  # AdamW counts steps of each
    return Held(parameters, gradients, state)


def gathered_bytes(module: nn.Module) -> int:
    """What is whole while sharded parameters are at work, in float32: two layers (the next one is fetched ahead),
    embeddings and heads."""
    layers = layer_sizes(module)
    rest = sum(one.numel() for one in module.parameters()) - sum(layers)
    return FLOAT * (2 * max(layers) + rest)


def layer_sizes(module: nn.Module) -> list[int]:
    """The number of parameters of each layer."""
    return [sum(one.numel() for one in layer.parameters()) for layer in transformer_layers(module)]


def muon_bytes(module: nn.Module, ranks: int, shards: int) -> int:
    """What Muon holds for a moment: ORTHOGONALISED times the matrices of one shape that a rank orthogonalises at once,
    all of them where it is alone, and its rows of the updates of those that all ranks have at once."""
    matrices, *_ = parameter_groups(module)
    moments = []
    for (rows, columns), count in Counter(tuple(one.shape) for one in matrices).items():
        size, held = FLOAT * rows * columns, 0
        if ranks > 1:
            count = min(count, ranks * max(1, AT_ONCE // (rows * columns)))
            count, held = -(-count // ranks), -(-count // shards)
        moments.append(size * (ORTHOGONALISED * count + held))
    return max(moments)


def activation_bytes(config: Any, tokens: int, *, checkpointing: bool) -> int:
    """An estimate, for attention that keeps no scores: what the backward of a layer reads, in bfloat16.

    For each token and layer: the inputs and outputs of both norms (4 widths), queries, keys, values and what attention
    gives, and 4 numbers for each hidden one of a gated feed-forward (2 of another). With train.gradient_checkpointing
    the input of each layer, and all of one layer.
    """
    width, heads = config.hidden_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or width // heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    layer = 4 * width + (2 * heads + 2 * keys) * head + 4 * config.intermediate_size
    layers = config.num_hidden_layers
    return HALF * tokens * (width * layers + layer if checkpointing else layer * layers)


def table() -> None:
    print(
        "| model | parameters | ranks | `train.shard` | AdamW | Muon | + at work | + micro-batches | + Muon's moment |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, config in MODELS.items():
        module = build(config)
        count = sum(one.numel() for one in module.parameters())
        for ranks, shards in LAYOUTS:
            adamw, muon = (held(module, optimizer, shards).total / GB for optimizer in ("adamw", "muon"))
            work = gathered_bytes(module) / GB if shards > 1 else 0.0
            whole = FLOAT * count / GB if shards > 1 else 0.0
            moment = muon_bytes(module, ranks, shards) / GB
            figures = " | ".join(f"{value:.1f}" if value else "" for value in (adamw, muon, work, whole, moment))
            how = {1: "1", ranks: "all"}.get(shards, str(shards))
            print(f"| {name} | {count / 1e6:,.0f}M | {ranks} | {how if ranks > 1 else ''} | {figures} |")
    print("\n| model | activations, all kept | + copies of weights | with train.gradient_checkpointing | + copies |")
    print("|---|---:|---:|---:|---:|")
    for name, config in MODELS.items():
        module = build(config)
        kept, saved = (activation_bytes(module.config, TOKENS, checkpointing=one) for one in (False, True))
        copies = [HALF * size for size in layer_sizes(module)]
        figures = (kept, sum(copies), saved, max(copies))
        print(f"| {name} | {' | '.join(f'{value / GB:.1f}' for value in figures)} |")


def hold_all(folder: Path) -> None:
    """One rank of a launch: FOLDER/rank-N.json has, for each case, the bytes that it holds, and those computed."""
    from textssl.distributed import launched_rank

    shards = MEASURED[int(os.environ.get("WORLD_SIZE", "1"))]
    cases = [(preset, optimizer, shard) for preset, optimizer in TRIED for shard in shards]
    found = [[vars(one) for one in hold(folder, *case)] for case in cases]
    (folder / f"rank-{launched_rank()}.json").write_text(json.dumps(list(zip(cases, found, strict=True))))


def hold(folder: Path, preset: str, optimizer: str, shard: int) -> tuple[Held, Held]:
    """What a rank of a real run holds after a step, and what was computed."""
    from rich.console import Console

    from tests.tiny import tiny_config
    from textssl.assembly.pretraining import assemble
    from textssl.assembly.runs import start_accelerator
    from textssl.distributed import rank
    from textssl.objectives import resolve_objective
    from textssl.sharding import local
    from textssl.training.signals import StopSignals
    from textssl.training.step import StepGradient

    objective_name = "clm" if preset.startswith("llama") else "mlm"
    model = json.dumps({"preset": preset})
    options = f"model={model}", f"optimizer.name={optimizer}", f"train.shard={shard}"
    config = tiny_config(folder, objective_name, *options)
    objective, config.objective = resolve_objective(config.objective)
    trainer, _, words = assemble(config, objective, start_accelerator(config), Console(quiet=True))
    trainer.signals, trainer.seconds_before, trainer.clock_started = StopSignals(), 0.0, 0.0
    batches = trainer.dataset[0]
    totals = trainer.totals(batches)
    StepGradient(objective, trainer.encode, totals.counts, 0, 0).run(batches)
    parameters = list(objective.parameters())
    gradients = sum(local(one.grad).nbytes for one in parameters if one.grad is not None)
    objective.zero_grad()
    trainer.train_step(batches, totals)
    state = [value for one in trainer.optimizers for values in one.state.values() for value in values.values()]
    measured = Held(sum(local(one).nbytes for one in parameters), gradients, sum(local(one).nbytes for one in state))
    return measured, held(build({**PRESETS[preset], "vocab_size": len(words)}), optimizer, shard, rank() % shard)


def measure() -> int:
    """Real processes, one launch after another; 0 where every rank holds what was worked out, to the byte."""
    from tests.forked import Ranks
    from tests.tiny import make_corpus

    wrong = 0
    print(f"{'preset':18}{'optimizer':11}{'processes':>9}{'shard':>7}{'parameters':>13}{'gradients':>12}{'state':>12}")
    for ranks in MEASURED:
        with tempfile.TemporaryDirectory() as name:
            make_corpus(Path(name))
            launch = Ranks(["-m", "scripts.memory", "--hold", name], ranks)
            _, errors = launch.communicate()
            if launch.returncode:
                print(errors[-5000:])
                return 1
            found = [json.loads((Path(name) / f"rank-{one}.json").read_text()) for one in range(ranks)]
        for cases in zip(*found, strict=True):  # one case, on every rank
            (preset, optimizer, shard), (first, _) = cases[0]
            equal = all(measured == expected for _, (measured, expected) in cases)
            wrong += not equal
            figures = "{parameters:>13,}{gradients:>12,}{optimizer:>12,}".format(**first)
            verdict = "as worked out, on every rank" if equal else f"NOT AS WORKED OUT: {cases}"
            print(f"{preset:18}{optimizer:11}{ranks:>9}{shard:>7}{figures}  {verdict}", flush=True)
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--hold", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.hold:
        hold_all(arguments.hold)
    elif arguments.measure:
        sys.exit(measure())
    else:
        table()
