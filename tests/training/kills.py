"""Kill a run at random moments with SIGKILL, start it again until it is done, and compare with an unbroken one."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.forked import Forked, Ranks
from textssl.sections import Config


@dataclass
class Broken:
    kills: int
    resumed_from: list[int]
    same_bytes: bool
    same_metrics: bool


def start(config: Config, *overrides: str, processes: int = 1) -> Any:
    """`textssl pretrain` (finetune, where there are labels) in a process group of its own; several as torchrun does."""
    file = Path(config.out).with_suffix(".yaml")
    file.write_text(config.to_yaml())
    command = ["finetune" if config.data.train else "pretrain", str(file), *overrides]
    return Forked(command) if processes == 1 else Ranks(command, processes)


def finish(process: Forked | Ranks) -> int:
    _, errors = process.communicate()
    if process.returncode not in (0, 75):
        raise RuntimeError(errors[-3000:])
    return process.returncode


def checkpoints(run: str) -> list[str]:
    return sorted(path.name for path in Path(run, "checkpoints").glob("step-*"))


def kill_at_random(config: Config, rng: random.Random, most_seconds: float) -> bool:
    """Start the run, wait for a checkpoint newer than any before, then up to `most_seconds`, then SIGKILL.

    False where the run was faster than we.
    """
    before = checkpoints(config.out)
    process = start(config)
    while process.poll() is None and checkpoints(config.out)[-1:] == before[-1:]:
        time.sleep(0.005)
    time.sleep(rng.random() * most_seconds)
    if process.poll() is not None:
        finish(process)
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def break_and_finish(config: Config, whole: Path, kills: int, seed: int, most_seconds: float = 0.5) -> Broken:
    """Run `config` with random kills and compare its result with the unbroken run in `whole`."""
    rng = random.Random(seed)
    done = 0
    while done < kills and kill_at_random(config, rng, most_seconds):
        done += 1
    finish(start(config))
    summary = json.loads(Path(config.out, "summary.json").read_text())
    return Broken(
        kills=done,
        resumed_from=summary["resumed_from"],
        same_bytes=digest(Path(config.out)) == digest(whole),
        same_metrics=losses(Path(config.out)) == losses(whole),
    )


def digest(run: Path) -> str:
    """Of all weights that the run exported."""
    weights = sorted((run / "model").rglob("*.safetensors"))
    assert weights, f"{run / 'model'} holds no weights"
    return hashlib.sha256(b"".join(file.read_bytes() for file in weights)).hexdigest()


def losses(run: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["train/loss"]) for line in lines if "train/loss" in line]
