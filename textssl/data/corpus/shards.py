"""The arrays of one shard of a prepared corpus: memory-mapped, or written piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from textssl.errors import UserError
from textssl.system.checksums import sha256_of

FILES = ("tokens", "marks", "documents")  # of a shard


@dataclass(frozen=True)
class Shard:
    """Memory-mapped arrays of one shard."""

    tokens: np.ndarray  # (tokens,) uint16 or uint32
    marks: np.ndarray  # (tokens,) uint8
    documents: np.ndarray  # (documents, 2) int64: first token; UTF-8 bytes

    def bounds(self, first: int, stop: int) -> np.ndarray:
        """(stop - first + 1,) int64: first token of each document, and where the last one ends."""
        ends = self.documents[first + 1 : stop + 1, 0]
        if stop == len(self.documents):
            ends = np.append(ends, len(self.tokens))
        return np.concatenate([self.documents[first : first + 1, 0], ends]).astype(np.int64)


class Described(NamedTuple):
    """What corpus.json says of a shard: its counts, and the sha256 of its files, one after another."""

    tokens: int
    documents: int
    sha256: str


@lru_cache(maxsize=64)
def open_shard(path: str, index: int, described: Described) -> Shard:
    """The arrays of a shard; the last 64 stay mapped, until their corpus is written anew.

    Raises UserError where they cannot be read, or hold other counts than corpus.json says, as those of a corpus that
    was replaced after it was opened.
    """
    folder = Path(path)
    try:
        # as plain arrays, which are sliced in a fifth of the time of np.memmap
        arrays = [np.asarray(np.load(shard_file(folder, kind, index), mmap_mode="r")) for kind in FILES]
    except (OSError, ValueError) as error:
        raise UserError(f"shard {index} of {path} cannot be read ({error}): prepare the corpus again") from None
    shard = Shard(*arrays)
    if (len(shard.tokens), len(shard.documents)) != (described.tokens, described.documents):
        file = shard_file(folder, "tokens", index)
        raise UserError(f"{file} holds other counts than corpus.json says: prepare the corpus again")
    return shard


def shard_file(path: Path, kind: str, index: int) -> Path:
    return path / f"{kind}-{index:05d}.npy"


class NpyStream:
    """A one-dimensional .npy file written piece by piece, its length filled into the header at the end."""

    HEADER_BYTES = 128

    def __init__(self, path: Path, dtype: np.dtype):
        self.path, self.dtype, self.length = path, dtype, 0
        self.file = path.open("wb")
        self.file.write(b" " * self.HEADER_BYTES)

    def write(self, values: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(values, dtype=self.dtype).tobytes())
        self.length += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def close(self) -> str:
        """Write the header; returns the file's sha256."""
        self.finish()
        return sha256_of(self.path)

    def finish(self) -> None:
        """Write the header (npy format 1.0, padded to 128 bytes)."""
        descr = np.lib.format.dtype_to_descr(self.dtype)
        fields = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({self.length},), }}"
        header = fields.ljust(self.HEADER_BYTES - 11) + "\n"
        self.file.seek(0)
        self.file.write(np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode("latin1"))
        self.file.close()
