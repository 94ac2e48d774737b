"""Whether a fast engine agrees with the tokenizers library: tested once for each tokenizer, then remembered."""

from __future__ import annotations

import hashlib
import json
import platform
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from textssl import __version__
from textssl.errors import UserError
from textssl.system.files import write_text
from textssl.tokenizer.engines import library_name

REVISION = 2  # raise when the test changes: verdicts of older ones are forgotten


class Fault(NamedTuple):
    """Why an engine is not used. differs: it gives something else than the library, and always will; else an error
    ended the comparison, which may go well another time. detail: where it differs, or the error."""

    differs: bool
    detail: str

    def __str__(self) -> str:
        if self.differs:
            return f"differs from the tokenizers library ({self.detail}), so the library is used"
        return f"could not be compared with the tokenizers library ({self.detail}), so the library is used this time"


def fault(
    engine: str, tokenizer_hash: str, purpose: str, memory: Path | None, compare: Callable[[], str | None]
) -> Fault | None:
    """Why an engine cannot replace the library, or None: as `compare` finds, or found before.

    compare: what the engine does differently, or None; where it ends in an error, nothing is remembered.

    engine: its name with its version. purpose: what is compared ("marks"). memory: a folder that keeps verdicts; if it
    cannot be read or written, the comparison is only repeated.
    """
    here = [__version__, library_name(), unicodedata.unidata_version, platform.machine()]  # a home may be of several
    parts = [REVISION, *here, engine, tokenizer_hash, purpose]
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    file = None if memory is None else memory / f"{name}.json"
    known = None if file is None else recall(file)
    if known is None:
        found = compared(compare)
        if found is not None and not found.differs:
            return found
        known = {
            "engine": engine,
            "tokenizer_hash": tokenizer_hash,
            "difference": None if found is None else found.detail,
        }
        if file is not None:
            remember(file, known)
    return None if known["difference"] is None else Fault(True, known["difference"])


def compared(compare: Callable[[], str | None]) -> Fault | None:
    """What `compare` finds, or the error that ended it: the engine's, or want of memory or disk."""
    try:
        found = compare()
    except BaseException as error:
        # a panic of a Rust extension is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return Fault(False, ": ".join(filter(None, [type(error).__name__, str(error)])))
    return None if found is None else Fault(True, found)


def recall(file: Path) -> dict[str, str | None] | None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and "difference" in known else None


def remember(file: Path, verdict: dict[str, str | None]) -> None:
    """Write a verdict, whole or not at all; where that fails, the test is repeated next time."""
    with suppress(UserError, OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(verdict))
