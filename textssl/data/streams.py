"""Files as pieces of bytes and as numbered lines, decompressed on the way, in bounded memory."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from textssl.data import drops

RECORD_LIMIT = 2**28  # bytes of one record: longer ones are a missing separator or an unclosed quote
_PIECE = 2**20  # bytes
_ZSTD_PIECE = 2**13  # compressed bytes; small, as one call gives out all that they decompress to

_READERS = {".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile}
COMPRESSIONS = (*_READERS, ".zst")


class BrokenFile(Exception):
    """The file ends or breaks in its middle; what came before it was given out. `line` is where."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.line = 1


def pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, decompressed as its suffix says. Raises BrokenFile after the last good piece."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".zst":
            yield from _zstd_pieces(path)
            return
        with _READERS[suffix](path) if suffix in _READERS else path.open("rb") as file:
            # read1, as read would lose what it had gathered when the end is missing
            while piece := file.read1(_PIECE):
                yield piece
    except EOFError:
        raise BrokenFile(drops.TRUNCATED) from None
    except (zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise BrokenFile(drops.DAMAGED, str(error)) from None
    except OSError as error:
        if error.errno is not None:  # the disk's error, not the decoder's
            raise
        raise BrokenFile(drops.DAMAGED, str(error)) from None


def lines(path: Path, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1, without line ends and without a byte order mark.

    Only `\\n` and `\\r\\n` end a line. A line over RECORD_LIMIT is dropped. Raises BrokenFile as `pieces` does: the
    line that the break cut is not given out.
    """
    number = 1
    pending = bytearray()  # of a line that the next piece goes on with
    try:
        for piece in pieces(path):
            *ends, rest = piece.split(b"\n")
            for end in ends:
                yield from _finished(path, number, bytes(pending) + end if pending else end, drop)
                pending.clear()
                number += 1
            pending += rest
            del pending[RECORD_LIMIT + 1 :]  # enough to know that it is too large
    except BrokenFile as broken:
        broken.line = number
        raise
    if pending:
        yield from _finished(path, number, bytes(pending), drop)


def _finished(path: Path, number: int, line: bytes, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    if len(line) > RECORD_LIMIT:
        drop(drops.TOO_LARGE, f"{path}:{number}", "")
    else:
        yield number, line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")


def _zstd_pieces(path: Path) -> Iterator[bytes]:
    """zstandard's own reader takes a missing end for the end of the file, so frames are followed one by one."""
    frame = None
    with path.open("rb") as file:
        while raw := file.read(_ZSTD_PIECE):
            while raw:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                if piece := frame.decompress(raw):
                    yield piece
                raw = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
    if frame is not None:
        raise EOFError
