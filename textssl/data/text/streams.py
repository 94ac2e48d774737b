"""Files as pieces of bytes and as numbered lines, decompressed on the fly, in bounded memory."""

import bz2
import codecs
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import zstandard

from textssl.data.text import drops
from textssl.data.text.remote_files import is_remote, open_remote, path_of

RECORD_LIMIT = 2**28  # bytes of one record; a longer one comes of a missing separator or an unclosed quote
_PIECE = 2**20  # bytes
_PACKED_PIECE = 2**14  # compressed bytes
_ZSTD_PIECE = 2**10  # compressed bytes; few, as one call returns all that they decompress to, at most 32 MiB

_DECODERS = {".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor}
COMPRESSIONS = (".gz", *_DECODERS, ".zst")
_BARE_RETURN = re.compile(rb"\r(?!\n|\Z)")
_WIDE = {  # byte order mark -> encoding; that of UTF-32 begins with one of UTF-16
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class BrokenFile(Exception):
    """The file is truncated or damaged; what came before was given out. `line` is where it breaks."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
        self.line = 1


def pieces(source: str | Path) -> Iterator[bytes]:
    """The bytes of a file or a URL, decompressed as its suffix says. Raises BrokenFile after the last good piece."""
    suffix = Path(path_of(str(source))).suffix.lower()
    try:
        with open_source(source) as raw:
            if suffix == ".zst":
                yield from _zstd_pieces(raw)
                return
            if suffix in _DECODERS:
                yield from _stream_pieces(raw, _DECODERS[suffix])
                return
            with gzip.GzipFile(fileobj=raw) if suffix == ".gz" else nullcontext(raw) as file:
                # read1, as read would lose what it has gathered where the end is missing
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


def open_source(source: str | Path, *, seekable: bool = False) -> io.BufferedReader:
    """A file, or what is behind a URL, as bytes. seekable: as in open_remote."""
    return open_remote(str(source), seekable=seekable) if is_remote(str(source)) else Path(source).open("rb")


def lines(path: str | Path, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1, without line ends and without a byte order mark.

    `\\n` and `\\r\\n` end a line; so does `\\r` alone where it is more frequent than `\\n` in the first MiB, as in
    files from old Macs. UTF-16 and UTF-32 with a byte order mark are given out as UTF-8. A line over RECORD_LIMIT is
    dropped. Raises BrokenFile as `pieces` does; the line at which the file breaks is not given out.
    """
    number = 1
    pending = bytearray()  # of a line that continues in the next piece
    try:
        for piece in _with_newlines(_as_utf8(_bounded(pieces(path)))):
            *ends, rest = piece.split(b"\n")
            for end in ends:
                if pending or number == 1 or len(end) > RECORD_LIMIT:
                    yield from _finished(path, number, bytes(pending) + end, drop)
                    pending.clear()
                else:
                    yield number, end.removesuffix(b"\r")
                number += 1
            pending += rest
            del pending[RECORD_LIMIT + 1 :]  # enough to know that it is too large
    except BrokenFile as broken:
        broken.line = number
        raise
    if pending:
        yield from _finished(path, number, bytes(pending), drop)


def _bounded(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at most _PIECE, as each line of a piece becomes an object of its own."""
    for piece in stream:
        for start in range(0, len(piece), _PIECE):
            yield piece[start : start + _PIECE]


def _headed(stream: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The same bytes; the first piece has at least `size`, or all that come before the end or a break."""
    head = b""
    pieces = iter(stream)
    try:
        while len(head) < size and (piece := next(pieces, b"")):
            head += piece
    except BrokenFile:
        yield head
        raise
    yield head
    yield from pieces


def _as_utf8(stream: Iterable[bytes]) -> Iterator[bytes]:
    """UTF-16 and UTF-32, recognised by their byte order mark, as UTF-8; all else as it is.

    Half of a surrogate pair becomes bytes that are not valid UTF-8, so that only its record is broken.
    """
    decoder: codecs.IncrementalDecoder | None = None
    for place, piece in enumerate(_headed(stream, len(codecs.BOM_UTF32_LE))):
        if place == 0:
            mark = next((mark for mark in _WIDE if piece.startswith(mark)), None)
            if mark is not None:
                decoder = codecs.getincrementaldecoder(_WIDE[mark])("surrogatepass")
                piece = piece[len(mark) :]
        yield piece if decoder is None else _decoded(decoder, piece, final=False)
    if decoder is not None and decoder.getstate()[0]:
        yield _decoded(decoder, b"", final=True)


def _decoded(decoder: codecs.IncrementalDecoder, piece: bytes, *, final: bool) -> bytes:
    try:
        return decoder.decode(piece, final).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        reason = drops.TRUNCATED if final else drops.DAMAGED
        raise BrokenFile(reason, f"{error.encoding}: {error.reason}") from None


def _with_newlines(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, with `\\n` for each line end where most are a bare `\\r`."""
    replaces = cut = False  # cut: the last piece ended in \r, which was given out as \n
    for place, piece in enumerate(_headed(stream, _PIECE)):
        if place == 0:
            start = piece[:_PIECE]
            replaces = len(_BARE_RETURN.findall(start)) > start.count(b"\n")
        if replaces:
            if cut and piece.startswith(b"\n"):
                piece = piece[1:]
                cut = False
            if piece:
                cut = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        yield piece


def _finished(path: str | Path, number: int, line: bytes, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    if len(line) > RECORD_LIMIT:
        drop(drops.TOO_LARGE, f"{path}:{number}", "")
    else:
        yield number, line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf" if number == 1 else b"")


def _stream_pieces(file: io.BufferedReader, decoder: Callable[[], Any]) -> Iterator[bytes]:
    """Decompressed stream by stream: BZ2File and LZMAFile take one that is damaged at its start, and zeros before one,
    for the end of the file. Zeros between streams are padding."""
    stream: Any = None
    ended = False  # a stream has
    while raw := file.read(_PACKED_PIECE):
        while raw := raw.lstrip(b"\0") if ended and stream is None else raw:
            stream = stream or decoder()
            if piece := stream.decompress(raw, _PIECE):
                yield piece
            while not stream.eof and not stream.needs_input:
                if piece := stream.decompress(b"", _PIECE):
                    yield piece
            raw = stream.unused_data if stream.eof else b""
            if stream.eof:
                stream, ended = None, True
    if stream is not None or not ended:
        raise EOFError


def _zstd_pieces(file: io.BufferedReader) -> Iterator[bytes]:
    """Decompressed frame by frame, as zstandard's own reader takes a missing end for the end of the file."""
    frame = None
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
