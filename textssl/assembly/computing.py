"""How a run computes: in which precision, by which attention and kernels, with how many threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import torch
from rich.console import Console
from torch import nn

from textssl import distributed
from textssl.models.attention.dense import DENSE
from textssl.models.sentence import token_reader
from textssl.models.static import is_static, is_static_folder
from textssl.sections import Config, ModelConfig
from textssl.system.hardware import DENSE_BELOW, MATRIX_BFLOAT16, bfloat16_matrices
from textssl.system.threads import choose_threads, processes_here, usable_cores, use
from textssl.training.checkpoint import read_state
from textssl.training.precision import choose_precision
from textssl.training.tracking import announce

ATTENTIONS = set(get_args(ModelConfig.model_fields["attention"].annotation)) - {"auto"}


def for_hardware(config: Config, device: torch.device, before: dict[str, Any] | None, console: Console) -> Config:
    """A frozen copy in which `auto` for precision and attention is replaced by what the run began with, or by what is
    fast on the hardware of the first rank: bfloat16 on GPUs and CPUs that multiply matrices in it, there with dense
    attention for short sequences, else float32. Attention that depends on the model stays `auto` until it is built.

    before: the configuration in the checkpoint to resume from. A key that is `auto` there, as older versions wrote it,
    stays `auto`.
    """
    now = computing_values(config)
    if before is not None:
        places = {key: key.split(".") for key in now}
        taken = {key: before[section].get(name, "auto") for key, (section, name) in places.items()}
        why = "as this run began"
    else:
        taken, why = distributed.from_first_rank(lambda: hardware_values(config, device.type == "cuda"))
    taken = {key: value for key, value in taken.items() if now[key] == "auto" != value}
    if taken and distributed.rank() == 0:
        announce(console, f"auto is {', '.join(f'{key}={value}' for key, value in taken.items())} ({why})")
    return config.with_values(taken)


def computed_as(config: Config, other: Config) -> Config:
    """A frozen copy with the values that a run of the same configuration had in the place of `auto`."""
    return config.with_values(computing_values(other))


def computing_values(config: Config) -> dict[str, str]:
    """What may be `auto` until the hardware is known, by dotted keys."""
    return {"train.precision": config.train.precision, "model.attention": config.model.attention}


def hardware_values(config: Config, cuda: bool) -> tuple[dict[str, str], str]:
    """The values that replace `auto` in a new run, by dotted keys, and the reason."""
    pretrained = config.model.pretrained
    if not cuda and (is_static(config.model) or (pretrained is not None and is_static_folder(Path(pretrained)))):
        return {"train.precision": "float32"}, "a static encoder multiplies no matrices"
    precision = choose_precision(cuda)
    values = {"train.precision": precision}
    if cuda:
        return values, f"{'' if precision == 'bfloat16' else 'no '}native bfloat16 on this GPU"
    computed = precision if config.train.precision == "auto" else config.train.precision
    feature = bfloat16_matrices()
    if feature and computed == "bfloat16" and config.data.sequence_length < DENSE_BELOW:
        values["model.attention"] = DENSE
    return values, f"{feature or 'no ' + ' or '.join(MATRIX_BFLOAT16)} on this processor"


def run_precision(config: Config, cuda: bool) -> str:
    """The precision of a configuration from `for_hardware`; `auto` is left by older versions: bfloat16 on GPUs only."""
    chosen = config.train.precision
    return chosen if chosen != "auto" else choose_precision(cuda) if cuda else "float32"


def with_attention(config: Config, backbone: nn.Module) -> Config:
    """A frozen copy with the attention that the model was built with; it stays `auto` where the model has none."""
    own = getattr(getattr(token_reader(backbone), "model", None), "config", None)
    name = getattr(own, "_attn_implementation", None)
    known = config.model.attention == "auto" and name in ATTENTIONS
    return config.with_values({"model.attention": name} if known else {})


def take_threads(config: Config, newest: Path | None, console: Console) -> list[str]:
    """Set the number of compute threads and announce it on the first rank; a resumed run keeps the number it had.

    With another number sums are taken in another order, so results differ in the last digits. Returns warnings: of
    that, and of more threads than cores, as a run from another machine or of other processes may bring them.
    """
    before = None if newest is None else read_state(newest).get("threads")
    chosen = use(choose_threads(config.train.threads, before, name="train.threads"))
    if distributed.rank() == 0:
        announce(console, f"training with {chosen}")
    warnings, cores, processes = [], usable_cores(), processes_here()
    fitting = max(1, cores // processes)
    if chosen.count > fitting:
        each = f" of each of {processes} processes" if processes > 1 else ""
        warnings.append(
            f"{chosen.count} compute threads{each} wait for each other on {cores} core{'s' * (cores > 1)}, which may "
            f"take several times as long: train.threads={fitting} fits"
        )
    if before in (None, chosen.count):
        return warnings
    return [
        *warnings,
        f"this run had {before} compute threads so far: with {chosen.count} its weights will differ from those of an "
        f"unbroken run in the last digits; train.threads={before} keeps them",
    ]


def with_threads(config: Config) -> Config:
    """A frozen copy with the number of threads that was taken, which an equal run needs."""
    return config.with_values({"train.threads": torch.get_num_threads()})


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Use only deterministic kernels within the block (torch.use_deterministic_algorithms), where `on` is true."""
    if not on:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
