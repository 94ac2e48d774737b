"""What a configuration of `accelerate launch` asks for, as `train.shard`; what textssl does not support is refused.

`accelerate launch --config_file FILE` passes its settings on in the environment (Accelerate 1.15: ACCELERATE_USE_*,
FSDP_*, PARALLELISM_CONFIG_*). If a plugin is on, they are read here, once; nothing else of them affects a run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Literal

from textssl.errors import UserError

Shard = int | Literal["all"]
PREFIXES = "ACCELERATE_", "FSDP_", "PARALLELISM_CONFIG_"
STRATEGIES = "FULL_SHARD", "SHARD_GRAD_OP", "NO_SHARD", "HYBRID_SHARD", "HYBRID_SHARD_ZERO2"  # numbered from 1
OTHER_ENGINES = {"DEEPSPEED": "DeepSpeed", "MEGATRON_LM": "Megatron-LM"}
OTHER_DIMENSIONS = {"TP": "tensor", "CP": "context", "SP": "sequence"}
UNUSED = {  # setting of Accelerate -> the value by which it asks for nothing, and the key that decides instead
    "ACCELERATE_MIXED_PRECISION": ("no", "train.precision"),
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": ("1", "train.micro_batch_size"),
    "ACCELERATE_GRADIENT_CLIPPING": ("none", "train.max_grad_norm"),
    "ACCELERATE_DYNAMO_BACKEND": ("no", "train.compile"),
    "ACCELERATE_USE_CPU": ("false", "train.device"),
    "ACCELERATE_TORCH_DEVICE": ("", "train.device"),
}


def asked_shard(environment: Mapping[str, str] = os.environ) -> Shard | None:
    """How parameters are sharded over processes by Accelerate's configuration; None where it does not say.

    A number of processes that share one copy of the parameters, or "all". Raises UserError, naming the setting, for
    what textssl does not support.
    """

    def is_on(name: str) -> bool:
        return environment.get(name, "").lower() in ("true", "1", "yes", "on", "y", "t")

    for name, words in OTHER_ENGINES.items():
        if is_on(f"ACCELERATE_USE_{name}"):
            raise refusal(f"ACCELERATE_USE_{name}", environment, f"training on {words}, and textssl trains on FSDP2")
    fsdp, meshed = is_on("ACCELERATE_USE_FSDP"), is_on("ACCELERATE_USE_PARALLELISM_CONFIG")
    if fsdp:
        check_fsdp(environment, is_on)
    if meshed:
        return shard_of_mesh(environment)
    return shard_of_strategy(environment) if fsdp else None


def check_fsdp(environment: Mapping[str, str], is_on: Callable[[str], bool]) -> None:
    if environment.get("FSDP_VERSION", "1") != "2":
        raise refusal("FSDP_VERSION", environment, "FSDP version 1: set fsdp_version: 2", missing="1")
    if is_on("FSDP_OFFLOAD_PARAMS"):
        raise refusal("FSDP_OFFLOAD_PARAMS", environment, "parameters in the memory of the host: set it to false")
    for name in ("FSDP_ACTIVATION_CHECKPOINTING", "FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD"):
        if is_on(name):
            wanted = "activations that are computed again: set it to false, and train.gradient_checkpointing=true"
            raise refusal(name, environment, wanted)
    if environment.get("FSDP_IGNORED_MODULES"):
        raise refusal("FSDP_IGNORED_MODULES", environment, "modules that are not sharded: leave it out")


def shard_of_strategy(environment: Mapping[str, str]) -> Shard:
    """The sharding that an FSDP plugin without a mesh of its own asks for. Raises UserError."""
    given = environment.get("FSDP_SHARDING_STRATEGY", STRATEGIES[0]).upper()
    strategy = STRATEGIES[int(given) - 1] if given in map(str, range(1, len(STRATEGIES) + 1)) else given
    gathers_again = environment.get("FSDP_RESHARD_AFTER_FORWARD", "true").upper() in ("TRUE", "1", *STRATEGIES[:1])
    if strategy == "NO_SHARD":
        return 1
    if strategy not in ("FULL_SHARD", "HYBRID_SHARD"):
        wanted = "a strategy that textssl does not have: FULL_SHARD, HYBRID_SHARD or NO_SHARD"
        raise refusal("FSDP_SHARDING_STRATEGY", environment, wanted)
    if not gathers_again:
        wanted = "parameters that stay whole between forward and backward: set it to true"
        raise refusal("FSDP_RESHARD_AFTER_FORWARD", environment, wanted)
    if strategy == "FULL_SHARD":
        return "all"
    return int(environment.get("LOCAL_WORLD_SIZE", "1"))  # sharded within a host, replicated across hosts


def shard_of_mesh(environment: Mapping[str, str]) -> Shard:
    """The sharding that a parallelism_config asks for: the size of a group that shards. Raises UserError."""

    def size(name: str) -> int:
        given = environment.get(f"PARALLELISM_CONFIG_{name}_SIZE", "1")
        try:
            return int(given)
        except ValueError:
            raise refusal(f"PARALLELISM_CONFIG_{name}_SIZE", environment, "no whole number") from None

    for name, words in OTHER_DIMENSIONS.items():
        if size(name) > 1:
            raise refusal(f"PARALLELISM_CONFIG_{name}_SIZE", environment, f"{words} parallelism: set it to 1")
    copies, shards, world = size("DP_REPLICATE"), size("DP_SHARD"), int(environment.get("WORLD_SIZE", "1"))
    if copies * shards != world:
        wanted = f"{shards} parts with dp_replicate_size {copies}, and this run has {world} process{'es' * (world > 1)}"
        raise refusal("PARALLELISM_CONFIG_DP_SHARD_SIZE", environment, wanted, missing="1")
    return "all" if shards == world else shards


def refusal(name: str, environment: Mapping[str, str], wanted: str, missing: str = "") -> UserError:
    key = name.removeprefix("ACCELERATE_").lower()
    value = environment.get(name, missing)
    return UserError(
        f"Accelerate's configuration has {key}: {value} ({name} in the environment), which asks for {wanted}; how "
        "parameters lie over processes is train.shard (docs/sharding.md)"
    )


def unused_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each setting of Accelerate that asks for something and has no effect here."""
    return [
        f"{name}={environment[name]} (Accelerate's) does nothing here: {key} decides"
        for name, (nothing, key) in UNUSED.items()
        if environment.get(name, nothing).lower() != nothing
    ]
