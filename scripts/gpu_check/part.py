"""What the process of a part does. Imports nothing heavy, since the process that starts parts needs it too."""

from __future__ import annotations

import importlib
import os
from pathlib import Path


def act(name: str, work: Path, rows: Path, dry: bool, log: Path) -> None:
    """What the process of a part does, its output in a file."""
    os.setsid()  # with all that it starts, one group to end
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from scripts.gpu_check.check import Check

    if name == "setup":
        from scripts.gpu_check.inputs import make

        make(work, dry)
        return
    module, _, function = name.partition("-")
    getattr(importlib.import_module(f"scripts.gpu_check.{module}"), function)(Check(name, work, rows, dry))
