"""Complete training states on disk: written aside, flushed, renamed; checked by sha256 when read; nothing pickled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from textssl.distributed import rank
from textssl.errors import UserError
from textssl.sharding import overwrite, sharded_like, whole
from textssl.system.checksums import sha256_of
from textssl.system.files import flush, settle, writing

MANIFEST = "manifest.json"
STATE = "state.json"
WEIGHTS, OPTIMIZER = "objective.safetensors", "optimizer.safetensors"
SIDE = ".writing-"  # prefix of a folder that is not finished
OLD = ".replaced-"  # prefix of one that another is about to replace


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: dict[str, dict[str, Tensor]],
    state: dict[str, Any],
    keep: int,
    best: int | None = None,
) -> Path:
    """Write `folder/step-XXXXXXXX` and remove all but the newest `keep` and that of step `best`.

    tensors: what `whole_state` gave. state: JSON values (step, tokens, seconds, the configuration, ...).
    """
    final = step_folder(folder, step)
    side = folder / f"{SIDE}{final.name}"
    old = folder / f"{OLD}{final.name}"
    shutil.rmtree(side, ignore_errors=True)
    with writing(final, side):
        try:
            side.mkdir(parents=True)
            fill_folder(side, step, tensors, state)
            settle(side)
            if final.exists():  # a broken one, or the same step saved before the clock ran out
                final.rename(old)
            side.rename(final)
            flush(folder)
        finally:
            shutil.rmtree(side, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    older = [path for path in sorted(folder.glob("step-*")) if path.name <= final.name]  # later ones are broken
    for old in older[:-keep]:
        if best is None or old != step_folder(folder, best):
            shutil.rmtree(old)
    return final


def whole_state(module: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file of a checkpoint, whole, on the first rank; every rank has to ask."""
    files = {WEIGHTS: module_tensors(module), OPTIMIZER: optimizer_tensors(module, optimizers)}
    found: dict[str, dict[str, Tensor]] = {name: {} for name in files}
    for name, tensors in files.items():
        for key, tensor in tensors.items():
            complete = whole(tensor)
            if rank() == 0:
                found[name][key] = complete.contiguous()
    return found


def fill_folder(folder: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
    """Write the files of a checkpoint, the manifest last."""
    for name, found in tensors.items():
        save_file(found, folder / name)
    (folder / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    sums = {name: sha256_of(folder / name) for name in (WEIGHTS, OPTIMIZER, STATE)}
    (folder / MANIFEST).write_text(json.dumps({"step": step, "sha256": sums}, indent=1) + "\n", encoding="utf-8")


def step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def newest_checkpoint(folder: Path, warn: Callable[[str], None] = lambda message: None) -> Path | None:
    """The newest complete checkpoint, None where there is none; a broken one is named and the one before is used.

    Raises UserError where there are checkpoints and all are broken.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    for path in found:
        reason = broken(path)
        if reason is None:
            return path
        warn(f"the checkpoint {path} is broken ({reason}); trying the one before")
    if found:
        raise UserError(f"every checkpoint in {folder} is broken: begin anew with train.resume=restart")
    return None


def broken(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        sums = dict(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"no readable {MANIFEST}"
    missing = {WEIGHTS, OPTIMIZER, STATE} - sums.keys()
    if missing:
        return f"{MANIFEST} does not name {', '.join(sorted(missing))}"
    for name, expected in sums.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if sha256_of(path / name) != expected:
            return f"{name} has another sha256 than its manifest says"
    return None


def remove_unfinished(folder: Path) -> None:
    """Clear away what a killed writer left; what it was about to replace comes back."""
    for side in folder.glob(f"{SIDE}*"):
        shutil.rmtree(side)
    for old in folder.glob(f"{OLD}*"):
        final = folder / old.name.removeprefix(OLD)
        if final.exists():
            shutil.rmtree(old)
        else:
            old.rename(final)


def read_state(path: Path) -> dict[str, Any]:
    return json.loads((path / STATE).read_text(encoding="utf-8"))


def restore_checkpoint(path: Path, module: nn.Module, optimizers: Sequence[Optimizer]) -> None:
    """Put weights, buffers and optimizer state back, in place. Raises UserError where names or shapes differ."""
    restore_weights(path, module)
    saved = load_file(path / OPTIMIZER)
    names = parameter_names(module)
    taken = 0
    for number, optimizer in enumerate(optimizers):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                prefix = f"{number}/{names[parameter]}/"
                for key in [key for key in saved if key.startswith(prefix)]:
                    value = saved[key].to(parameter.device, copy=True)  # fused AdamW keeps its step count there too
                    if value.shape == parameter.shape:
                        value = sharded_like(parameter, value)
                    optimizer.state[parameter][key.removeprefix(prefix)] = value
                    taken += 1
    if taken != len(saved):
        raise UserError(f"{path / OPTIMIZER} belongs to another optimizer: start with train.resume=restart")


def restore_weights(path: Path, module: nn.Module) -> None:
    """Put weights and buffers back, in place. Raises UserError where names or shapes differ."""
    fill(module_tensors(module), load_file(path / WEIGHTS), path / WEIGHTS)


def fill(target: dict[str, Tensor], saved: dict[str, Tensor], source: Path) -> None:
    if target.keys() != saved.keys() or any(target[name].shape != saved[name].shape for name in target):
        raise UserError(f"{source} belongs to another model: start with train.resume=restart")
    with torch.no_grad():
        for name, tensor in target.items():
            overwrite(tensor, saved[name])


def parameter_names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in module.named_parameters()}


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; tied ones once, under their first name."""
    persistent = set(module.state_dict(keep_vars=True))
    tensors: dict[str, Tensor] = {name: p.detach() for name, p in module.named_parameters()}
    tensors |= {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    return tensors


def optimizer_tensors(module: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Every optimizer's state by "number/parameter/key"."""
    names = parameter_names(module)
    return {
        f"{number}/{names[parameter]}/{key}": value
        for number, optimizer in enumerate(optimizers)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }
