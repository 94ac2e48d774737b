"""A prepared corpus on disk: token shards, marks, document bounds and corpus.json.

DIR/corpus.json                     what the folder holds: counts, blocks, sha256 of every shard
DIR/tokens-00000.npy                uint16 or uint32, one a token; special tokens are not stored
DIR/marks-00000.npy                 uint8, one a token: bit 0 starts a word, bit 1 starts a sentence
DIR/documents-00000.npy             (documents, 2) int64: first token of the document in its shard; its UTF-8 bytes
DIR/held-out/                       the same files for the held-out split

Blocks are runs of consecutive documents of about `block_tokens` tokens; their counts live in corpus.json, so that a
plan can be made without opening a shard.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.samples.cache import cache_folder
from textssl.errors import UserError, excerpt
from textssl.sample_types import SENTENCE_START
from textssl.system.checksums import sha256_of, verify

FORMAT = 1
MANIFEST = "corpus.json"
HELD_OUT = "held-out"
_OF_A_SPLIT = ("corpus.json", "tokens-*.npy", "marks-*.npy", "documents-*.npy")
OWN_FILES = (*_OF_A_SPLIT, *(f"{HELD_OUT}/{file}" for file in _OF_A_SPLIT))  # patterns of what a corpus is made of
FILES = ("tokens", "marks", "documents")  # of a shard
BLOCK_COUNTS = ("documents", "sentences", "tokens")
MANIFEST_KEYS = {  # what is read of corpus.json
    **dict.fromkeys(("documents", "sentences", "tokens", "bytes", "vocab_size"), int),
    **{"tokenizer_hash": str, "shards": list},
}


@dataclass(frozen=True)
class Blocks:
    """Counts of every block, in corpus order; each array is (blocks,) int64.

    shard: the shard that holds the block. first_document: its first document, counted within the shard.
    """

    shard: np.ndarray
    first_document: np.ndarray
    documents: np.ndarray
    sentences: np.ndarray
    tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.shard)


@dataclass(frozen=True)
class Corpus:
    """One split of a prepared corpus, opened without reading a shard."""

    path: Path
    manifest: dict[str, Any]
    blocks: Blocks

    @classmethod
    def open(cls, path: str | Path) -> Corpus:
        """Open a folder that `textssl prepare` wrote; UserError where it is missing, damaged or of another format."""
        path = Path(path)
        file = path / MANIFEST
        if not os.path.isfile(file):
            raise UserError(f"{path} is not a prepared corpus: it has no {MANIFEST}; make one with `textssl prepare`")
        manifest = read_manifest(file)
        try:
            check_shards(manifest["shards"])
            blocks = read_blocks(manifest["shards"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{file} is damaged ({type(error).__name__}: {error}): prepare the corpus again") from None
        return cls(path, manifest, blocks)

    @property
    def tokens(self) -> int:
        return self.manifest["tokens"]

    @property
    def documents(self) -> int:
        return self.manifest["documents"]

    @property
    def bytes(self) -> int:
        return self.manifest["bytes"]

    @property
    def tokenizer_hash(self) -> str:
        return self.manifest["tokenizer_hash"]

    @property
    def languages(self) -> dict[str, int]:
        """Documents of both splits by language code; empty for a corpus that was made without."""
        counts = self.manifest.get("languages")
        return counts if isinstance(counts, dict) else {}

    @property
    def fingerprint(self) -> str:
        """Changes when any token, mark or document bound does."""
        sums = [shard["sha256"] for shard in self.manifest["shards"]]
        return hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def held_out(self) -> Path:
        return self.path / HELD_OUT

    def shard(self, index: int) -> Shard:
        return open_shard(str(self.path), index)

    def document_bounds(self) -> Iterator[tuple[int, int, int]]:
        """(shard, first token, end) of every document, in corpus order; places count within the shard."""
        for index in range(len(self.manifest["shards"])):
            shard = self.shard(index)
            for first, end in pairwise(shard.bounds(0, len(shard.documents)).tolist()):
                yield index, first, end

    def check(self) -> int:
        """Compare every shard with its sha256 and its tokens with the vocabulary; returns the bytes that were read.

        What was found right is remembered in the cache folder by size and time. Raises UserError naming the first file
        that is not what prepare wrote.
        """
        expected = {
            shard_file(self.path, kind, index): sha256
            for index, shard in enumerate(self.manifest["shards"])
            for kind, sha256 in shard["sha256"].items()
        }
        found = verify(expected, cache_folder() / "verified")
        for file in found.damaged:
            raise UserError(f"{file} is not the file that prepare wrote: prepare the corpus again")
        if found.read:
            self.check_tokens()
        return found.read

    def check_tokens(self) -> None:
        """UserError where a token is not of the vocabulary, or counts are not those of corpus.json."""
        for index, shard in enumerate(self.manifest["shards"]):
            arrays, file = self.shard(index), shard_file(self.path, "tokens", index)
            if (len(arrays.tokens), len(arrays.documents)) != (shard["tokens"], shard["documents"]):
                raise UserError(f"{file} holds other counts than {self.path / MANIFEST} says: prepare the corpus again")
            largest = int(arrays.tokens.max(initial=0))
            if largest >= self.manifest["vocab_size"]:
                raise UserError(
                    f"{file} holds the token {largest}, but the vocabulary has {self.manifest['vocab_size']}: prepare "
                    "the corpus again"
                )


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


@lru_cache(maxsize=64)
def open_shard(path: str, index: int) -> Shard:
    """The arrays of a shard; the last 64 stay mapped."""
    folder = Path(path)
    try:
        arrays = [np.load(shard_file(folder, kind, index), mmap_mode="r") for kind in ("tokens", "marks", "documents")]
    except (OSError, ValueError) as error:
        raise UserError(f"shard {index} of {path} cannot be read ({error}): prepare the corpus again") from None
    return Shard(*arrays)


def read_manifest(file: Path) -> dict[str, Any]:
    """corpus.json, with everything that is read of it. Raises UserError."""
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{file} is damaged (not JSON): prepare the corpus again") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{file} is damaged (no JSON object): prepare the corpus again")
    if manifest.get("format") != FORMAT:
        raise UserError(f"{file} has format {manifest.get('format')}, this version reads {FORMAT}: prepare it again")
    for key, kind in MANIFEST_KEYS.items():
        if not isinstance(manifest.get(key), kind) or isinstance(manifest[key], bool):
            what = "missing" if key not in manifest else f"no {kind.__name__}"
            raise UserError(f"{file} is damaged ({key} is {what}): prepare the corpus again")
    return manifest


def check_shards(shards: list[dict[str, Any]]) -> None:
    """Raises TypeError where a shard of corpus.json has no counts, or not a sha256 for each of its files."""
    for shard in shards:
        sums = shard["sha256"]
        if not isinstance(sums, dict) or {kind: type(one) for kind, one in sums.items()} != dict.fromkeys(FILES, str):
            raise TypeError(f"the sums of a shard are {excerpt(sums)}")
        for key in ("tokens", "documents"):
            if type(shard[key]) is not int:
                raise TypeError(f"{key} of a shard is {excerpt(shard[key])}")


def read_blocks(shards: list[dict[str, Any]]) -> Blocks:
    """The block counts of corpus.json as arrays."""
    counts = {key: [np.asarray(shard["blocks"][key], dtype=np.int64) for shard in shards] for key in BLOCK_COUNTS}
    first = [np.cumsum(documents) - documents for documents in counts["documents"]]
    owner = [np.full(len(documents), index, dtype=np.int64) for index, documents in enumerate(counts["documents"])]
    joined = [np.concatenate(parts) if parts else np.zeros(0, np.int64) for parts in (owner, first, *counts.values())]
    return Blocks(*joined)


def shard_file(path: Path, kind: str, index: int) -> Path:
    return path / f"{kind}-{index:05d}.npy"


class CorpusWriter:
    """Writes a prepared corpus, shard by shard, in bounded memory; corpus.json comes last.

    The folder must be a side folder that the caller renames into place: an interrupted writer leaves no corpus.json.
    """

    def __init__(
        self,
        out: Path,
        *,
        tokenizer_hash: str,
        vocab_size: int,
        split: str,
        block_tokens: int = 2**20,
        shard_tokens: int = 2**27,
    ):
        self.out = out
        self.facts = {"format": FORMAT, "split": split, "tokenizer_hash": tokenizer_hash, "vocab_size": vocab_size}
        self.block_tokens, self.shard_tokens = block_tokens, shard_tokens
        self.dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
        self.shards: list[dict[str, Any]] = []
        out.mkdir(parents=True, exist_ok=True)
        self._open_shard()

    def _open_shard(self) -> None:
        self.num_tokens = 0
        self.documents: list[tuple[int, int]] = []
        self.blocks: dict[str, list[int]] = {key: [] for key in BLOCK_COUNTS}
        self.block_open = False
        index = len(self.shards)
        self.streams = {
            "tokens": NpyStream(shard_file(self.out, "tokens", index), self.dtype),
            "marks": NpyStream(shard_file(self.out, "marks", index), np.dtype(np.uint8)),
        }

    def add(self, ids: np.ndarray, marks: np.ndarray, num_bytes: int) -> None:
        """Append one document: ids and marks (tokens,), without special tokens; num_bytes, the size of its UTF-8."""
        assert len(ids) == len(marks) and len(ids) > 0
        if self.documents and self.num_tokens + len(ids) > self.shard_tokens:
            self._close_shard()
            self._open_shard()
        if not self.block_open:
            for counts in self.blocks.values():
                counts.append(0)
            self.block_open = True
        self.documents.append((self.num_tokens, num_bytes))
        self.streams["tokens"].write(ids)
        self.streams["marks"].write(marks)
        self.num_tokens += len(ids)
        self.blocks["documents"][-1] += 1
        self.blocks["sentences"][-1] += int(np.count_nonzero(marks & SENTENCE_START))
        self.blocks["tokens"][-1] += len(ids)
        self.block_open = self.blocks["tokens"][-1] < self.block_tokens

    def _close_shard(self) -> None:
        index = len(self.shards)
        sums = {kind: stream.close() for kind, stream in self.streams.items()}
        documents = np.array(self.documents, dtype=np.int64).reshape(-1, 2)
        file = shard_file(self.out, "documents", index)
        np.save(file, documents)
        sums["documents"] = sha256_of(file)
        self.shards.append({
            "tokens": self.num_tokens,
            "documents": len(documents),
            "bytes": int(documents[:, 1].sum()),
            "sha256": sums,
            "blocks": self.blocks,
        })  # fmt: skip

    def close(
        self,
        dropped: dict[str, int] | None = None,
        provenance: dict[str, Any] | None = None,
        languages: dict[str, Any] | None = None,
    ) -> None:
        """Finish the last shard and write corpus.json.

        dropped: records left out, by reason. languages: `language`, as it was asked for, and `languages`, how many
        documents of the whole corpus are taken to be in which.
        """
        self._close_shard()
        totals = {key: sum(shard[key] for shard in self.shards) for key in ("documents", "tokens", "bytes")}
        totals["sentences"] = sum(sum(shard["blocks"]["sentences"]) for shard in self.shards)
        manifest = {
            **self.facts,
            **totals,
            **(languages or {}),
            "dropped": dropped or {},
            "provenance": provenance or {},
            "block_tokens": self.block_tokens,
            "shards": self.shards,
        }
        (self.out / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False) + "\n", encoding="utf-8")


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

    def close(self) -> str:
        """Write the header (npy format 1.0, padded to 128 bytes); returns the file's sha256."""
        descr = np.lib.format.dtype_to_descr(self.dtype)
        fields = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': ({self.length},), }}"
        header = fields.ljust(self.HEADER_BYTES - 11) + "\n"
        self.file.seek(0)
        self.file.write(np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode("latin1"))
        self.file.close()
        return sha256_of(self.path)
