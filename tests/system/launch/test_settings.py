"""What a configuration of `accelerate launch` becomes, with its environment as Accelerate writes it."""

import pytest
import yaml
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

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


def launched(file, **settings) -> dict[str, str]:
    """The environment that `accelerate launch --config_file` makes of a file, of 8 processes on 2 hosts."""
    machines = {"num_machines": 2, "num_processes": 8, "machine_rank": 0, "main_process_ip": "one"}
    common = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "FSDP", "mixed_precision": "bf16"}
    file.write_text(yaml.safe_dump({**common, **machines, "main_process_port": 29500, **settings}))
    given = launch_command_parser().parse_args(["--config_file", str(file), "script.py"])
    read, _, _ = _validate_launch_command(given)
    return {**prepare_multi_gpu_env(read), "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}


@pytest.mark.parametrize(
    "settings, shard",
    [
        ({"distributed_type": "MULTI_GPU"}, None),
        ({"fsdp_config": {"fsdp_version": 2}}, "all"),
        ({"fsdp_config": {"fsdp_version": 2, "fsdp_reshard_after_forward": True}}, "all"),
        ({"fsdp_config": {"fsdp_version": 2, "fsdp_sharding_strategy": "HYBRID_SHARD"}}, 4),
        (
            {
                "fsdp_config": {"fsdp_version": 2},
                "parallelism_config": {
                    "parallelism_config_dp_replicate_size": 4,
                    "parallelism_config_dp_shard_size": 2,
                    "parallelism_config_tp_size": 1,
                    "parallelism_config_cp_size": 1,
                },
            },
            2,
        ),
    ],
)
def test_a_configuration_file_becomes_a_sharding_through_accelerates_own_launcher(tmp_path, settings, shard):
    environment = launched(tmp_path / "accelerate.yaml", **settings)
    assert asked_shard(environment) == shard
    (line,) = unused_settings(environment)
    assert line.startswith("ACCELERATE_MIXED_PRECISION=bf16")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({}, "fsdp_version: 1 "),
        ({"fsdp_version": 2, "fsdp_reshard_after_forward": False}, "fsdp_reshard_after_forward: false"),
        ({"fsdp_version": 2, "fsdp_offload_params": True}, "fsdp_offload_params: true"),
        ({"fsdp_version": 2, "fsdp_activation_checkpointing": True}, "train.gradient_checkpointing=true"),
    ],
)
def test_a_configuration_file_that_asks_for_more_is_refused(tmp_path, settings, words):
    with pytest.raises(UserError, match=words):
        asked_shard(launched(tmp_path / "accelerate.yaml", fsdp_config=settings))


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


def test_ranks_are_compared_by_the_sharding_that_follows(monkeypatch):
    """Accelerate's configuration on one host, and the key that says the same on another."""
    compared: list[dict] = []
    monkeypatch.setattr(resolution, "check_alike", compared.append)
    monkeypatch.setenv("WORLD_SIZE", "8")
    for environment, shard in (({}, "all"), ({}, 8), (FSDP2, 1), ({}, 1)):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            resolution.check_same(parse_config({"objective": {"name": "mlm"}, "train": {"shard": shard}}))
    assert compared[0] == compared[1] == compared[2] != compared[3]
