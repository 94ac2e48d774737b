"""A folder that appears whole or not at all: written beside its place, renamed into it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textssl.errors import UserError


@contextmanager
def side_folder(out: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `out`; when the block ends without an error it takes the place of `out`.

    What an interrupted earlier run left is removed first. A second writer to the same place gets a UserError. An `out`
    that is there already is replaced: whether it may be is for the caller to ask before.
    """
    out = Path(os.path.abspath(out))
    side, old = out.parent / f".{out.name}.partial", out.parent / f".{out.name}.replaced"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock_file = out.parent / f".{out.name}.lock"
        lock = lock_file.open("w")
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process is writing {out} now: wait for it, or choose another --out") from None
        clean(out, side, old)
        side.mkdir()
        try:
            yield side
            if out.exists():
                out.rename(old)
            side.rename(out)
        finally:
            clean(out, side, old)
            lock_file.unlink(missing_ok=True)


def clean(out: Path, side: Path, old: Path) -> None:
    """Remove side folders; what was there before comes back where the new folder did not get into its place."""
    if old.exists() and not out.exists():
        old.rename(out)
    for stale in (side, old):
        shutil.rmtree(stale, ignore_errors=True)
