"""Complete training states on disk: written aside, flushed, renamed; checked by sha256 when read; nothing pickled.

Where parameters are sharded, each rank writes the rows that it holds into files of its own, all at the same time, and
reads the rows that it needs, whoever wrote them: so any number of processes, sharded or not, resumes from any. The
shapes of all tensors have a file too, from which follows where a row is, so that a rank opens what it needs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from textssl.distributed import from_every_rank, from_first_rank, rank, reason_of_any, world_size
from textssl.errors import UserError
from textssl.sharding import held_alone, local, own_rows, place_of, sharded_like
from textssl.system.checksums import sha256_of
from textssl.system.files import flush, settle, writing

MANIFEST = "manifest.json"
STATE, TENSORS = "state.json", "tensors.json"
WEIGHTS, OPTIMIZER = "objective.safetensors", "optimizer.safetensors"
SIDE = ".writing-"  # prefix of a folder that is not finished
OLD = ".replaced-"  # prefix of one that another is about to replace


def save_checkpoint(
    folder: Path,
    step: int,
    module: nn.Module,
    optimizers: Sequence[Optimizer],
    state: dict[str, Any],
    keep: int,
    best: int | None = None,
) -> Path:
    """Write `folder/step-XXXXXXXX` and remove all but the newest `keep` and that of step `best`; every rank calls.

    state: JSON values (step, tokens, seconds, the configuration, ...), which the first rank writes. Raises UserError on
    every rank where one of them cannot write.
    """
    final = step_folder(folder, step)
    side = folder / f"{SIDE}{final.name}"
    try:
        from_first_rank(lambda: begin(side, final, state))
        sums = from_every_rank(lambda: write_parts(side, final, module, optimizers))
        every = {name: one for part in sums for name, one in part.items()}
        about = {name: described(tensors) for name, tensors in state_tensors(module, optimizers).items()}
        from_first_rank(lambda: complete(side, final, step, every, about))
    finally:
        if rank() == 0:
            shutil.rmtree(side, ignore_errors=True)
    if rank() == 0:
        older = [path for path in sorted(folder.glob("step-*")) if path.name <= final.name]  # later ones are broken
        for old in older[:-keep]:
            if best is None or old != step_folder(folder, best):
                shutil.rmtree(old)
    return final


def begin(side: Path, final: Path, state: dict[str, Any]) -> None:
    shutil.rmtree(side, ignore_errors=True)
    with writing(final, side):
        side.mkdir(parents=True)
        (side / STATE).write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")


def write_parts(side: Path, final: Path, module: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, str]:
    """Write what this rank holds and no rank before it does; returns the sha256 sum of each file. Raises UserError."""
    part, parts, copy = place_of(module)
    if copy:
        return {}
    if not side.is_dir():
        raise UserError(f"rank {rank()} does not see {side}, which rank 0 has made: put out on a disk that all share")
    sums = {}
    with writing(final, side):
        for name, tensors in state_tensors(module, optimizers).items():
            owned = {key: local(tensor) for key, tensor in tensors.items() if part == 0 or not held_alone(tensor)}
            file = side / part_name(name, part, parts)
            save_file({key: rows.contiguous() for key, rows in owned.items()}, file)
            flush(file)
            sums[file.name] = sha256_of(file)
    return sums


def complete(side: Path, final: Path, step: int, sums: dict[str, str], about: dict[str, Any]) -> None:
    """Write shapes and manifest, and put the folder into its place. sums: of the parts. about: the tensors, by file."""
    old = final.with_name(f"{OLD}{final.name}")
    with writing(final, side):
        (side / TENSORS).write_text(json.dumps(about) + "\n", encoding="utf-8")
        others = {name: sha256_of(side / name) for name in (STATE, TENSORS)}
        manifest = {"step": step, "parts": len(sums) // 2, "sha256": sums | others}
        (side / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        settle(side)
        if final.exists():  # a broken one, or the same step saved before the clock ran out
            final.rename(old)
        side.rename(final)
        flush(final.parent)
    shutil.rmtree(old, ignore_errors=True)


def part_name(name: str, part: int, parts: int) -> str:
    """The file name of a rank's part: the name itself where there is one part, else as in stock folders."""
    stem, dot, ending = name.rpartition(".")
    return name if parts == 1 else f"{stem}-{part + 1:05}-of-{parts:05}{dot}{ending}"


def step_folder(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"


def newest_checkpoint(folder: Path, warn: Callable[[str], None] = lambda message: None) -> Path | None:
    """The newest complete checkpoint, None where there is none; `warn` names a broken one, and the one before is used.

    Every rank calls this. Raises UserError where there are checkpoints and all are broken.
    """
    names = from_first_rank(lambda: sorted((path.name for path in folder.glob("step-*")), reverse=True))
    for path in (folder / name for name in names):
        reason = broken(path)
        if reason is None:
            return path
        if rank() == 0:
            warn(f"the checkpoint {path} is broken ({reason}); trying the one before")
    if names:
        raise UserError(f"every checkpoint in {folder} is broken: start over with train.resume=restart")
    return None


def broken(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None; every rank calls this, and reads its share of the files."""
    return reason_of_any(lambda: damage(path))


def damage(path: Path) -> str | None:
    """What is wrong with this rank's share of a checkpoint, or None."""
    try:
        manifest = read_manifest(path)
        sums, parts = dict(manifest["sha256"]), int(manifest.get("parts", 1))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"no readable {MANIFEST}"
    if TENSORS not in sums:
        return "an earlier version of textssl wrote it"
    missing = {STATE, *(part_name(name, part, parts) for name in (WEIGHTS, OPTIMIZER) for part in range(parts))}
    missing -= sums.keys()
    if missing:
        return f"{MANIFEST} does not name {', '.join(sorted(missing))}"
    for name, expected in list(sums.items())[rank() :: world_size()]:
        if not (path / name).is_file():
            return f"{name} is missing"
        if sha256_of(path / name) != expected:
            return f"{name} has another sha256 than its manifest says"
    return None


def read_manifest(path: Path) -> dict[str, Any]:
    return json.loads((path / MANIFEST).read_text(encoding="utf-8"))


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
    saved = Saved(path, OPTIMIZER)
    names = parameter_names(module)
    taken = 0
    for number, optimizer in enumerate(optimizers):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                prefix = f"{number}/{names[parameter]}/"
                for key in [key for key in saved.shapes if key.startswith(prefix)]:
                    alike = saved.shapes[key] == tuple(parameter.shape)
                    value = saved.read(key, own_rows(parameter) if alike else slice(None))
                    value = value.to(parameter.device, copy=True)  # fused AdamW keeps its step count there too
                    optimizer.state[parameter][key.removeprefix(prefix)] = (
                        sharded_like(parameter, value) if alike else value
                    )
                    taken += 1
    if taken != len(saved.shapes):
        raise UserError(f"{path / OPTIMIZER} belongs to another optimizer: start with train.resume=restart")


def restore_weights(path: Path, module: nn.Module) -> None:
    """Put weights and buffers back, in place. Raises UserError where names or shapes differ."""
    target, saved = module_tensors(module), Saved(path, WEIGHTS)
    if {name: tuple(tensor.shape) for name, tensor in target.items()} != saved.shapes:
        raise UserError(f"{path / WEIGHTS} belongs to another model: start with train.resume=restart")
    with torch.no_grad():
        for name, tensor in target.items():
            local(tensor).copy_(saved.read(name, own_rows(tensor)))


class Saved:
    """The tensors of a file of a checkpoint, which may lie in parts: of a sharded one each has the next rows, as
    torch.chunk deals them, and the first part has all others. Files are opened where rows of them are asked for.

    shapes: whole, by name.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name, self.parts = folder, name, read_manifest(folder)["parts"]
        about = json.loads((folder / TENSORS).read_text(encoding="utf-8"))[name]
        self.shapes: dict[str, tuple[int, ...]] = {key: tuple(one["shape"]) for key, one in about.items()}
        self.sharded = {key for key, one in about.items() if one["sharded"]}
        self.opened: dict[int, Any] = {}

    def file(self, part: int) -> Any:
        if part not in self.opened:
            self.opened[part] = safe_open(self.folder / part_name(self.name, part, self.parts), "pt")
        return self.opened[part]

    def read(self, key: str, rows: slice) -> Tensor:
        """Rows of a tensor, from the files that have them; a tensor without dimensions is read whole."""
        if not self.shapes[key]:
            return self.file(0).get_tensor(key)
        begin, end, _ = rows.indices(self.shapes[key][0])
        a_part = max(-(-self.shapes[key][0] // self.parts) if key in self.sharded else end, 1)
        pieces = [
            self.file(part).get_slice(key)[max(begin - part * a_part, 0) : min(end - part * a_part, a_part)]
            for part in range(begin // a_part, -(-end // a_part))
        ]
        if not pieces:
            return self.file(0).get_slice(key)[:0]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def parameter_names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in module.named_parameters()}


def module_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; tied ones once, under their first name."""
    persistent = set(module.state_dict(keep_vars=True))
    tensors: dict[str, Tensor] = {name: p.detach() for name, p in module.named_parameters()}
    tensors |= {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    return tensors


def state_tensors(module: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, dict[str, Tensor]]:
    """What a checkpoint holds, by file."""
    return {WEIGHTS: module_tensors(module), OPTIMIZER: optimizer_tensors(module, optimizers)}


def described(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The shape of each, whole, and whether its rows lie in the parts of all ranks."""
    return {key: {"shape": [*one.shape], "sharded": isinstance(one, DTensor)} for key, one in tensors.items()}


def optimizer_tensors(module: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Every optimizer's state by "number/parameter/key"."""
    names = parameter_names(module)
    return {
        f"{number}/{names[parameter]}/{key}": value
        for number, optimizer in enumerate(optimizers)
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }
