"""Write a folder anew again and again, each time killed before another call of the operating system. Not a test itself.

python -m tests.system.dying FOLDER exchanging|renaming      prints a JSON object for each kill, the last one without
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from textssl.system import files
from textssl.system.files import written_folder

OLD = {"config": "old", "old": "old"}
NEW = {"config": "new", "deep/weights": "new"}
CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "open", "chmod")


def write_and_die(folder: Path, before: int, exchanging: bool) -> None:
    """End as SIGKILL ends a process, before the call of that number."""
    left = [before]

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            if not left[0]:
                os._exit(9)
            left[0] -= 1
            return call(*arguments, **options)

        return counted

    files.exchange = dying(files.exchange if exchanging else lambda *_: False)
    for name in CALLS:
        setattr(os, name, dying(getattr(os, name)))
    with written_folder(folder) as side:
        (side / "deep").mkdir()
        for name, text in NEW.items():
            (side / name).write_text(text)


def contents(folder: Path) -> dict[str, str] | None:
    if not folder.is_dir():
        return None
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def main(folder: Path, exchanging: bool) -> None:
    killed, call = True, 0
    while killed:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, text in OLD.items():
            (folder / name).write_text(text)
        child = os.fork()
        if child == 0:
            write_and_die(folder, call, exchanging)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0
        found = contents(folder)
        with suppress(ZeroDivisionError), written_folder(folder):
            _ = 1 / 0  # the next writer, who fails
        print(json.dumps({"killed": killed, "found": found, "later": contents(folder), "beside": beside(folder)}))
        call += 1


def beside(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder.parent) if name != folder.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "exchanging")
