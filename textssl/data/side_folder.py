"""A folder that appears whole or not at all: written beside its place, renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from textssl.errors import UserError
from textssl.lock import hold, lock_file


@contextmanager
def side_folder(out: str | Path) -> Iterator[Path]:
    """Give an empty folder beside `out`; when the block ends without an error it takes the place of `out`.

    What an interrupted earlier run left is removed first. A second writer to the same place gets a UserError. An `out`
    that is there already is replaced: whether it may be is for the caller to ask before.
    """
    out = Path(os.path.abspath(out))
    side, old = out.parent / f".{out.name}.partial", out.parent / f".{out.name}.replaced"
    with hold(lock_file(out), str(out), "--out"):
        try:
            clean(out, side, old)
            side.mkdir()
        except OSError as error:
            raise UserError(f"{out} cannot be written: {error}") from None
        try:
            yield side
            if out.exists():
                out.rename(old)
            side.rename(out)
        finally:
            clean(out, side, old)


def clean(out: Path, side: Path, old: Path) -> None:
    """Remove side folders; what was there before comes back where the new folder did not get into its place."""
    if old.exists() and not out.exists():
        old.rename(out)
    for stale in (side, old):
        shutil.rmtree(stale, ignore_errors=True)
