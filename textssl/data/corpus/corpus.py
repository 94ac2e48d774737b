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
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from textssl.data.corpus.manifest import MANIFEST, Blocks, check_shards, read_blocks, read_manifest
from textssl.data.corpus.shards import Described, Shard, open_shard, shard_file
from textssl.data.samples.cache import cache_folder
from textssl.errors import UserError
from textssl.system.checksums import identify, verify

HELD_OUT = "held-out"
_OF_A_SPLIT = (MANIFEST, "tokens-*.npy", "marks-*.npy", "documents-*.npy")
OWN_FILES = (*_OF_A_SPLIT, *(f"{HELD_OUT}/{file}" for file in _OF_A_SPLIT))  # patterns of its files


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
        """Documents of both splits by language code; empty for a corpus that was prepared without languages."""
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
        return open_shard(str(self.path), index, self.described[index])

    @cached_property
    def described(self) -> list[Described]:
        """What tells the shards from those of another corpus that was or will be at the same path."""
        shards = self.manifest["shards"]
        return [Described(one["tokens"], one["documents"], " ".join(one["sha256"].values())) for one in shards]

    def document_bounds(self) -> Iterator[tuple[int, int, int]]:
        """(shard, first token, end) of every document, in corpus order; tokens are counted within the shard."""
        for index in range(len(self.manifest["shards"])):
            shard = self.shard(index)
            for first, end in pairwise(shard.bounds(0, len(shard.documents)).tolist()):
                yield index, first, end

    @property
    def files(self) -> dict[Path, str]:
        """The sha256 of each file of its shards."""
        return {
            shard_file(self.path, kind, index): sha256
            for index, shard in enumerate(self.manifest["shards"])
            for kind, sha256 in shard["sha256"].items()
        }

    def identity(self) -> str:
        """Of the files themselves: a copy of them, on another host say, has another one."""
        return hashlib.sha256(repr([identify(file) for file in self.files]).encode()).hexdigest()

    def check(self) -> int:
        """Compare every shard with its sha256 and its tokens with the vocabulary; returns the bytes that were read.

        Files that passed are remembered in the cache folder by size and time of change, and not read again. Raises
        UserError naming the first file that is not what prepare wrote.
        """
        found = verify(self.files, cache_folder() / "verified")
        for file in found.damaged:
            raise UserError(f"{file} is not the file that prepare wrote: prepare the corpus again")
        if found.read:
            self.check_tokens()
        return found.read

    def check_tokens(self) -> None:
        """UserError where a token is outside the vocabulary, or counts differ from those of corpus.json."""
        for index in range(len(self.manifest["shards"])):
            largest = int(self.shard(index).tokens.max(initial=0))
            if largest >= self.manifest["vocab_size"]:
                file = shard_file(self.path, "tokens", index)
                raise UserError(
                    f"{file} holds the token {largest}, but the vocabulary has {self.manifest['vocab_size']}: prepare "
                    "the corpus again"
                )
