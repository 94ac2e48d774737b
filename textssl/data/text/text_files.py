"""Documents of a .txt file, one at a time, with the line at which each begins."""

import re
from collections.abc import Iterator
from pathlib import Path

from textssl.data.text import drops, streams
from textssl.data.text.streams import BrokenFile, lines

_NEWLINE = b"\n"
UNITS = ("blank-line", "line", "file")
# what str.isspace takes for whitespace, in UTF-8: also no-break and ideographic spaces, which pages of the web leave
_BLANK = re.compile(
    rb"(?:[\s\x1c-\x1f]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)*"
)


def text_records(path: str | Path, unit: str, drop: drops.Drop) -> Iterator[tuple[str, str]]:
    """(place, text) of each document of a .txt file, which is split at blank lines, at every line or not at all.

    The place of a document is its first line; that of a broken one, for `drop`, is the line with the broken byte.
    """
    for start, raw in _blocks(path, unit, drop):
        nul = raw.find(b"\0")
        if nul >= 0:
            drop(drops.NUL_BYTE, f"{path}:{start + raw.count(_NEWLINE, 0, nul)}", "")
            continue
        try:
            yield f"{path}:{start}", raw.decode("utf-8")
        except UnicodeDecodeError as error:
            drop(drops.INVALID_UTF8, f"{path}:{start + raw.count(_NEWLINE, 0, error.start)}", "")


def _blocks(path: str | Path, unit: str, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    """(first line, bytes) of each document of a text file; the one that a broken end cuts is left out."""
    block = bytearray()  # not a list of lines: an empty one is an object much larger than itself
    start = size = 0
    try:
        for number, line in lines(path, drop):
            if unit == "line":
                yield number, line
                continue
            blank = is_blank(line)
            if size and blank and unit == "blank-line":
                yield from _whole(path, start, block, size, drop)
                block.clear()
                size = 0
            elif size or not blank:
                start = start if size else number
                size += len(line) + 1
                if size <= streams.RECORD_LIMIT:
                    block += line
                    block += _NEWLINE
    except BrokenFile as broken:
        drop(broken.reason, f"{path}:{broken.line}", broken.detail)
        return
    if size:
        yield from _whole(path, start, block, size, drop)
    elif unit == "file":
        yield 1, b""


def is_blank(line: bytes) -> bool:
    """Whether a line of UTF-8 is whitespace alone."""
    rest = line.strip()
    return not rest or (not 32 < rest[0] < 128 and _BLANK.fullmatch(rest) is not None)


def _whole(path: str | Path, start: int, block: bytearray, size: int, drop: drops.Drop) -> Iterator[tuple[int, bytes]]:
    if size > streams.RECORD_LIMIT:
        drop(drops.TOO_LARGE, f"{path}:{start}", "")
    else:
        yield start, bytes(block[:-1])  # without the last line end
