"""What every command that trains does around the trainer: devices, the run folder, precision, the result."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import nn
from transformers import PreTrainedTokenizerFast

from textssl import distributed, tokenizer
from textssl.assembly.computing import (
    deterministic,
    for_hardware,
    run_precision,
    take_threads,
    with_attention,
    with_threads,
)
from textssl.assembly.datasets import planned
from textssl.assembly.fitting import check_masks, check_tokenizer, fit_attention, spread, telling_of_memory
from textssl.assembly.resolution import check_same, located, model_settings, seen_here
from textssl.config import absolute_paths, changed_keys
from textssl.data.batches.loader import Steps
from textssl.distributed import Accelerator
from textssl.errors import UserError
from textssl.failing_ranks import ending_together, naming_absent
from textssl.models.layers import narrow_residuals
from textssl.objectives.base import Facts, Objective
from textssl.sections import Config
from textssl.sharding import count_shards
from textssl.system.files import check_place, write_text
from textssl.system.freed_memory import keep_freed_memory
from textssl.system.hardware import EMULATED, native_bfloat16
from textssl.system.launch.settings import asked_shard, unused_settings
from textssl.system.locks.holder import holder_of
from textssl.system.locks.lock import NAME as LOCK
from textssl.system.locks.lock import check_free, hold
from textssl.system.threads import choose_threads, use
from textssl.tokenizer.vocabulary import Vocabulary
from textssl.training.checkpoint import newest_checkpoint, read_state, remove_unfinished
from textssl.training.schedule import StepProgress
from textssl.training.summary import Summary, summarize
from textssl.training.tracking import METRICS, announce, check_tensorboard
from textssl.training.trainer import Trainer

log = logging.getLogger(__name__)

NEVER = "{} holds checkpoints and train.resume is never: choose another out, or train.resume=auto"
LONGEST_NAME = "step-00000000"
DTYPES = {"float32": torch.float32, "float64": torch.float64}


def start_accelerator(config: Config) -> Accelerator:
    """Set the threads, choose the device and join the processes of the launch. Raises UserError."""
    use(choose_threads(config.train.threads, name="train.threads"))
    if config.train.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first product
    if config.train.device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device is cuda but no GPU is usable here; see `textssl doctor`")
    cpu = config.train.device == "cpu" or not torch.cuda.is_available()
    if cpu:
        keep_freed_memory()
    accelerator = distributed.join_processes("cpu" if cpu else "cuda", config.train.timeout_seconds)
    count_shards(config.train.shard, accelerator.num_processes)
    return accelerator


@contextmanager
def held_run(config: Config) -> Iterator[None]:
    """Lock the run folder against a second run within the block; every rank enters, the first one holds the lock.

    The folder is made for that, and removed again if nothing was written into it. An error of one rank within the block
    ends every rank, as does one that is missing for train.timeout_seconds. Raises UserError where another process holds
    it, where it is no run folder, where a rank does not see it, or has another configuration than the first one.
    """
    with ExitStack() as stack, naming_absent(config.train.timeout_seconds):
        token = distributed.from_first_rank(lambda: take_run(Path(config.out), stack))
        with ending_together(token, config.train.timeout_seconds):
            distributed.agree(lambda: check_shared(Path(config.out), token))
            check_same(config)
            yield


def check_shared(run: Path, token: str) -> None:
    """Raise UserError where this rank does not see the lock of the first one: they do not share a file system.

    token: of that lock. Another one is of a run before, which was killed, on a disk of this host's own.
    """
    holder = holder_of(run / LOCK)
    if holder is None or holder.token != token:
        raise UserError(
            f"rank {distributed.rank()} on {platform.node()} does not see {run / LOCK}, which rank 0 has made: put out "
            "on a file system that all hosts share"
        )


def take_run(run: Path, stack: ExitStack) -> str:
    """Hold the lock of a run folder until the stack is closed; returns the token of the lock. Raises UserError."""
    check_place(run, name="out")
    if not has_seeds(run):
        check_folder(run)
    lock = stack.enter_context(hold(run / LOCK, f"out={run}", "out"))
    for file in (run.parent / LOCK, *run.glob(f"seed-*/{LOCK}")):  # whose restart or seed this may be
        check_free(file, f"out={file.parent}", "out")
    return lock.owner.token


Found = tuple[Path, Path | None, dict[str, Any]]  # run folder, checkpoint to resume from, identity of the run


def choose_run(
    config: Config, words: PreTrainedTokenizerFast, fingerprints: dict[str, str], console: Console, device: torch.device
) -> tuple[Config, Found]:
    """The configuration with what follows from the hardware, and the folder, checkpoint and identity of the run.

    fingerprints: of the data, by name. Raises UserError naming the keys that differ from a run to be resumed, or from
    another rank; tokenizer and data are compared by what they hold, however their paths are written.
    """
    own = {"tokenizer": tokenizer.framed_hash(words), "data": [*fingerprints.values()]}
    distributed.check_alike({**own, "model.pretrained": model_settings(config)})
    run = seen_here(config, find_run)
    newest = newest_checkpoint(run / "checkpoints", partial(announce, console, style="yellow"))
    before = None if newest is None else read_state(newest)["identity"]
    config = for_hardware(config, device, before and before["config"], console)
    identity = {
        "config": config.model_dump(mode="json"),
        "corpora": fingerprints,
        "tokenizer": tokenizer.framed_hash(words),
        "paths": absolute_paths(config),
    }
    if changed := changed_keys(before, identity) if before else []:
        raise UserError(
            f"{run} was trained with another configuration; these keys differ: {', '.join(changed)}. "
            "Put them back, choose another out, or start over with train.resume=restart"
        )
    if before and list(before["corpora"].values()) != list(identity["corpora"].values()):
        raise UserError(f"{run} was trained on other text than {', '.join(identity['corpora'])} holds now")
    return config, (run, newest, identity)


def find_run(config: Config) -> Path:
    """The run folder, with what `train.resume` leaves in it; what a killed writer left is removed. Raises UserError."""
    run = Path(config.out)
    check_place(run, name="out")
    if has_seeds(run):
        raise UserError(f"out={run} holds runs of several seeds: choose another out, or the same train.num_seeds")
    check_folder(run)
    remove_unfinished(run / "checkpoints")
    if any((run / "checkpoints").glob("step-*")) and config.train.resume != "auto":
        if config.train.resume == "never":
            raise UserError(NEVER.format(run))
        return fresh_folder(run)
    return run


def find_seeds(config: Config) -> Path:
    """The folder for runs of several seeds, as `train.resume` asks. Raises UserError; writes nothing."""
    run = Path(config.out)
    check_place(run, name="out")
    if (run / "checkpoints").exists():
        raise UserError(f"out={run} holds a run of one seed: choose another out, or train.num_seeds=1")
    if not has_seeds(run):
        check_folder(run)
        return run
    if config.train.resume == "never":
        raise UserError(NEVER.format(run))
    return fresh_folder(run) if config.train.resume == "restart" else run


def has_seeds(run: Path) -> bool:
    return any(run.glob("seed-*/config.yaml"))


def check_folder(run: Path) -> None:
    """Raise UserError where no run can be put: at a file, where nothing can be written, in a folder of other files."""
    if run.exists() and not run.is_dir():
        raise UserError(f"out={run} is a file, it must be a folder to make")
    others = run.is_dir() and any(not path.name.startswith(LOCK) for path in run.iterdir())
    if others and not is_run(run):
        raise UserError(f"out={run} holds other files and no run: choose a new folder")
    check_place(run / "checkpoints" / LONGEST_NAME, name="out")


def is_run(run: Path) -> bool:
    """Whether a folder is that of a run; a config.yaml alone may be a user's own."""
    begun = any((run / name).exists() for name in (METRICS, "checkpoints")) or has_seeds(run)
    return begun and (run / "config.yaml").is_file()


def fresh_folder(run: Path) -> Path:
    """The first RUN/restart-N that is not there."""
    number = 1
    while (run / f"restart-{number}").exists():
        number += 1
    return run / f"restart-{number}"


def make_trainer(
    config: Config,
    objective: Objective,
    backbone: nn.Module,
    steps_of: Callable[[Callable[[int], float]], Steps],
    words: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    console: Console,
    *,
    found: Found,
    samples_an_epoch: Callable[[Steps], int],
    num_documents: int,
    frequencies: np.ndarray | None = None,
    warnings: Sequence[str] = (),
) -> Trainer:
    """The trainer of a run: the objective built on its device, the same on every rank, and the steps to train on.

    steps_of: (step -> progress) -> this rank's steps. found: what `choose_run` gave. num_documents: to train on.
    frequencies: of the tokens, as in Facts. warnings: said on the first rank.
    """
    if config.train.tensorboard:
        check_tensorboard()
    cuda = accelerator.device.type == "cuda"
    if not cuda:
        warnings = [*warnings, *take_threads(config, found[1], console)]
        config = with_threads(config)
    precision = run_precision(config, cuda)
    if precision == "bfloat16" and not native_bfloat16(cuda):
        warnings = [*warnings, EMULATED]
    directed = any(part.sets_direction for part in objective.leaves)
    check_tokenizer(backbone, words)
    fit_attention(config, backbone, accelerator.device, precision, directed)
    config = with_attention(config, backbone)
    check_masks(config, backbone, accelerator.device)
    if asked_shard() is not None:
        warnings = [*warnings, f"train.shard={config.train.shard}, as Accelerate's configuration says"]
    for warning in [*warnings, *unused_settings()] if distributed.rank() == 0 else ():
        announce(console, warning, style="yellow")
    with torch.random.fork_rng(devices=[]), telling_of_memory():  # the same heads on every rank and run of a seed
        torch.manual_seed(config.seed)
        facts = Facts(
            *(Vocabulary.of(words), config.data.sequence_length, num_documents, config.train.max_steps),
            batch_size=config.train.batch_size,
            frequencies=frequencies,
        )
        objective.build(backbone, facts)
        objective.to(DTYPES.get(precision, torch.float32))
    narrow_residuals(objective)
    spread(objective, config, accelerator)
    clock = multiprocessing.Value("d", 0.0)
    own = config.unfrozen()  # to turn its length into steps
    steps = steps_of(StepProgress(own.train, config.train.batch_size * config.data.sequence_length, clock))
    if own.train.max_epochs is not None:
        a_step = planned(steps)[0].batch_size  # of the first part of a mixture, whose samples are counted
        in_steps = math.ceil(own.train.max_epochs * samples_an_epoch(steps) / a_step)
        own.train.max_steps = max(1, min(in_steps, own.train.max_steps or in_steps))
    run, newest, identity = found
    identity["config"]["model"]["attention"] = config.model.attention
    identity["config"]["train"]["threads"] = config.train.threads
    return Trainer(
        *(objective, steps, own.freeze(), run, accelerator),
        resolved=located(config, run),
        precision=precision,
        resume_from=newest,
        identity=identity,
        console=console,
        on_progress=lambda done: setattr(clock, "value", done),
    )


def check_learned(trainer: Trainer) -> None:
    """Raise UserError where more than half of the steps were skipped: what the run would export is no result."""
    skipped, steps = trainer.book.skipped_steps, trainer.spent.steps
    if 2 * skipped > steps:
        raise UserError(
            f"{skipped} of {steps} steps were not finite and changed no weight, so nothing is exported: lower "
            f"optimizer.lr, lengthen the warmup, or look at the text; {trainer.checkpoints} has the last state"
        )


def conduct(trainer: Trainer, header: str) -> Summary:
    """Train; the run folder gets its configuration first, and the objective the best weights at the end."""
    if distributed.rank() == 0:
        write_text(trainer.run / "config.yaml", trainer.resolved.to_yaml())
        announce(trainer.console, header)
    with deterministic(trainer.config.train.deterministic), telling_of_memory():
        stopped_by = trainer.fit()
    if not stopped_by:
        check_learned(trainer)
        trainer.take_best()
    return summarize(trainer, stopped_by)
