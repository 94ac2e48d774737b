"""Whether a fast engine agrees with the tokenizers library: tested once for each tokenizer, then remembered."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from textssl import __version__
from textssl.errors import UserError
from textssl.system.files import write_text
from textssl.tokenizer.engines import library_name

REVISION = 1  # raise when the test changes: verdicts of older ones are forgotten


def difference(
    engine: str, tokenizer_hash: str, purpose: str, memory: Path | None, compare: Callable[[], str | None]
) -> str | None:
    """What an engine does differently, or None: as `compare` finds, or found before.

    engine: its name with its version. purpose: what is compared ("marks"). memory: a folder that keeps verdicts; if it
    cannot be read or written, the comparison is only repeated.
    """
    parts = [REVISION, __version__, engine, library_name(), unicodedata.unidata_version, tokenizer_hash, purpose]
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    file = None if memory is None else memory / f"{name}.json"
    known = None if file is None else recall(file)
    if known is None:
        known = {"engine": engine, "tokenizer_hash": tokenizer_hash, "difference": failure(compare)}
        if file is not None:
            remember(file, known)
    return known["difference"]


def failure(compare: Callable[[], str | None]) -> str | None:
    """What `compare` finds, or the error with which the engine failed in it."""
    try:
        return compare()
    except BaseException as error:
        # a panic of a Rust extension is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return f"{type(error).__name__}: {error}"


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
