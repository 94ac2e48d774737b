"""What a configuration of `accelerate launch` becomes, with its environment as Accelerate writes it."""

import pytest

from textssl.assembly import resolution
from textssl.config import parse_config
from textssl.errors import UserError
from textssl.system.launch.settings import asked_shard, unused_settings

FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_SHARDING_STRATEGY": "FULL_SHARD",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_ACTIVATION_CHECKPOINTING": "false",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
}
MESH = {"ACCELERATE_USE_PARALLELISM_CONFIG": "true", "PARALLELISM_CONFIG_TP_SIZE": "1"}


def mesh(copies: int, shards: int, **others: str) -> dict[str, str]:
    sizes = {"DP_REPLICATE": str(copies), "DP_SHARD": str(shards), **others}
    return FSDP2 | MESH | {f"PARALLELISM_CONFIG_{name}_SIZE": size for name, size in sizes.items()}


@pytest.mark.parametrize(
    "environment, shard",
    [
        ({}, None),
        ({"FSDP_SHARDING_STRATEGY": "FULL_SHARD", "PARALLELISM_CONFIG_DP_SHARD_SIZE": "2"}, None),  # no plugin is on
        ({"ACCELERATE_USE_FSDP": "false"}, None),
        (FSDP2, "all"),
        (FSDP2 | {"FSDP_SHARDING_STRATEGY": "1"}, "all"),
        (FSDP2 | {"FSDP_SHARDING_STRATEGY": "HYBRID_SHARD"}, 4),
        (FSDP2 | {"FSDP_SHARDING_STRATEGY": "NO_SHARD"}, 1),
        (FSDP2 | {"FSDP_RESHARD_AFTER_FORWARD": "FULL_SHARD"}, "all"),
        (mesh(4, 2), 2),
        (mesh(1, 8), "all"),
        (mesh(8, 1), 1),
    ],
)
def test_settings_become_a_sharding(environment, shard):
    assert asked_shard(environment) == shard


@pytest.mark.parametrize(
    "environment, words",
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "use_deepspeed: true .* DeepSpeed"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "Megatron"),
        (FSDP2 | {"FSDP_VERSION": "1"}, "fsdp_version: 1 .* set fsdp_version: 2"),
        ({"ACCELERATE_USE_FSDP": "true"}, "fsdp_version: 1 "),
        (FSDP2 | {"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params: true"),
        (FSDP2 | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "train.gradient_checkpointing=true"),
        (FSDP2 | {"FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD": "true"}, "offload: true"),
        (FSDP2 | {"FSDP_IGNORED_MODULES": "embeddings"}, "fsdp_ignored_modules: embeddings"),
        (FSDP2 | {"FSDP_SHARDING_STRATEGY": "SHARD_GRAD_OP"}, "FULL_SHARD, HYBRID_SHARD or NO_SHARD"),
        (FSDP2 | {"FSDP_SHARDING_STRATEGY": "5"}, "fsdp_sharding_strategy: 5"),
        (FSDP2 | {"FSDP_RESHARD_AFTER_FORWARD": "false"}, "fsdp_reshard_after_forward: false"),
        (mesh(2, 2), "dp_shard_size: 2 .* 2 parts with dp_replicate_size 2, and this run has 8 processes"),
        (mesh(1, 4, TP="2"), "tensor parallelism"),
        (mesh(1, 4, CP="2"), "context parallelism"),
        (mesh(1, 4, DP_SHARD="many"), "no whole number"),
    ],
)
def test_what_the_engine_lacks_is_refused_by_name(environment, words):
    with pytest.raises(UserError, match=words):
        asked_shard(environment)


def taken(monkeypatch, environment: dict[str, str], train: dict):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config, _ = resolution.resolve(parse_config({"objective": {"name": "mlm"}, "train": train}))
    return config.train.shard


@pytest.mark.parametrize("train, shard", [({}, "all"), ({"shard": "all"}, "all"), ({"shard": 8}, "all")])
def test_a_run_takes_it_where_the_key_does_not_say_another_thing(monkeypatch, train, shard):
    assert taken(monkeypatch, FSDP2, train) == shard


@pytest.mark.parametrize("given", [1, 2])
def test_a_contradiction_is_refused(monkeypatch, given):
    with pytest.raises(UserError, match=f"train.shard is {given}, but Accelerate's configuration .* train.shard=all"):
        taken(monkeypatch, FSDP2, {"shard": given})


def test_without_a_plugin_the_environment_changes_nothing(monkeypatch):
    stray = {"FSDP_SHARDING_STRATEGY": "FULL_SHARD", "FSDP_VERSION": "1", "WORLD_SIZE": "8"}
    assert taken(monkeypatch, stray, {}) == 1
    assert taken(monkeypatch, stray, {"shard": 2}) == 2


def test_settings_that_do_nothing_are_told():
    asked = {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}
    lines = unused_settings(asked | {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"})
    assert len(lines) == 2 and "train.precision decides" in lines[0] and "train.compile" in lines[1]
    for name, value in (("USE_CPU", "True"), ("TORCH_DEVICE", "cuda:1")):
        (line,) = unused_settings({f"ACCELERATE_{name}": value})
        assert line.startswith(f"ACCELERATE_{name}={value} ") and "train.device decides" in line
    nothing = {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO", "ACCELERATE_USE_CPU": "False"}
    assert unused_settings(nothing) == []
