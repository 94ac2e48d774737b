"""Standard output and error that never end a command: results are written whatever becomes of what is printed."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

UNREAD = (errno.EPIPE, errno.EBADF)  # nobody is reading any more: no fault of the command


class Stream(io.FileIO):
    """A file descriptor to write to. What it refuses is lost, and the first error is kept in `refusal`."""

    refusal: OSError | None = None

    def write(self, data, /) -> int:
        try:
            written = super().write(data)
        except OSError as error:
            self.refusal = self.refusal or error
            return memoryview(data).nbytes
        return written or 0


def secure() -> list[Stream]:
    """Replace the two standard streams by ones that never end a command; returns the new ones.

    What an encoding cannot write comes out escaped. A descriptor that was closed is opened on the null device, so that
    no file of ours gets its number. Streams other than plain files (under pytest, in notebooks) are left as they are.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    secured = []
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # it was closed when Python started
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        stream = getattr(sys, name)
        if type(stream) is not io.TextIOWrapper or not isinstance(raw_of(stream), io.FileIO):
            continue
        stream.flush()
        raw = Stream(stream.fileno(), "w", closefd=False)
        setattr(sys, name, text_stream(raw, stream))
        secured.append(raw)
    return secured


def raw_of(stream: TextIO) -> object:
    """What a text stream finally writes to; with PYTHONUNBUFFERED there is no buffer in between."""
    return getattr(stream.buffer, "raw", stream.buffer)


def text_stream(raw: Stream, before: TextIO) -> TextIO:
    return io.TextIOWrapper(
        raw if isinstance(before.buffer, io.FileIO) else io.BufferedWriter(raw),  # type: ignore[arg-type]
        encoding=before.encoding,
        errors="backslashreplace",
        line_buffering=raw.isatty() or raw.fileno() == 2,
        write_through=isinstance(before.buffer, io.FileIO),  # PYTHONUNBUFFERED
    )


def flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def refusals(secured: list[Stream]) -> list[str]:
    """Why printed text did not arrive, if that is a fault: a full disk, but not a reader that has gone."""
    flush()
    found = [raw.refusal for raw in secured if raw.refusal is not None and raw.refusal.errno not in UNREAD]
    return [f"{os.strerror(error.errno or errno.EIO)}" for error in found]
