"""What the process of a part does. Imports nothing heavy, since the process that starts parts needs it too."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any


def finding(rows: Path, part: str, name: str, passed: bool | None, value: str, **figures: Any) -> None:
    """Add a line to the file of a part. passed: None for what is measured and not judged. figures: for gpu.json."""
    with rows.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"part": part, "check": name, "passed": passed, "value": value, **figures}) + "\n")


def act(name: str, work: Path, rows: Path, dry: bool, log: Path, threads: int | None) -> None:
    """Run a part in this process of its own, with its output in the file `log`. threads: None leaves torch's."""
    os.setsid()  # with all that it starts, one group to end
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    import torch

    from scripts.gpu_check.check import Check

    if threads is not None:
        torch.set_num_threads(threads)

    if name == "setup":
        from scripts.gpu_check.inputs import make

        make(work, dry)
        return
    module, _, function = name.partition("-")
    getattr(importlib.import_module(f"scripts.gpu_check.{module}"), function)(Check(name, work, rows, dry))
