"""Writes the shards of a prepared corpus, and corpus.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.manifest import BLOCK_COUNTS, FORMAT, MANIFEST
from textssl.data.corpus.shards import NpyStream, shard_file
from textssl.sample_types import SENTENCE_START
from textssl.system.checksums import sha256_of


class ShardWriter:
    """Writes the files of one shard into a folder, and counts its blocks. dtype: of the tokens."""

    def __init__(self, folder: Path, index: int, dtype: np.dtype, block_tokens: int) -> None:
        self.folder, self.index, self.block_tokens = folder, index, block_tokens
        self.num_tokens = 0
        self.documents: list[np.ndarray] = []  # (documents, 2) each, first token and bytes
        self.blocks: dict[str, list[int]] = {key: [] for key in BLOCK_COUNTS}
        self.block_open = False
        self.streams = {
            "tokens": NpyStream(shard_file(folder, "tokens", index), dtype),
            "marks": NpyStream(shard_file(folder, "marks", index), np.dtype(np.uint8)),
        }

    def add(self, ids: np.ndarray, marks: np.ndarray, lengths: np.ndarray, sizes: np.ndarray) -> None:
        """Append documents, as CorpusWriter.add_documents takes them."""
        ends = np.cumsum(lengths)
        first = start = 0  # document and token
        while first < len(lengths):
            if not self.block_open:
                for counts in self.blocks.values():
                    counts.append(0)
            missing = self.block_tokens - self.blocks["tokens"][-1]
            to_full = np.searchsorted(ends, start + missing) + 1 - first  # a block ends with the document that fills it
            stop = min(first + int(to_full), len(lengths))
            end = int(ends[stop - 1])
            self._write(ids[start:end], marks[start:end], lengths[first:stop], sizes[first:stop])
            first, start = stop, end

    def _write(self, ids: np.ndarray, marks: np.ndarray, lengths: np.ndarray, sizes: np.ndarray) -> None:
        """Documents of one block."""
        starts = self.num_tokens + np.cumsum(lengths) - lengths
        self.documents.append(np.column_stack([starts, sizes]).astype(np.int64))
        self.streams["tokens"].write(ids)
        self.streams["marks"].write(marks)
        self.num_tokens += len(ids)
        self.blocks["documents"][-1] += len(lengths)
        self.blocks["sentences"][-1] += int(np.count_nonzero(marks & SENTENCE_START))
        self.blocks["tokens"][-1] += len(ids)
        self.block_open = self.blocks["tokens"][-1] < self.block_tokens

    def close(self) -> dict[str, Any]:
        """Finish the files; returns what corpus.json says of the shard."""
        sums = {kind: stream.close() for kind, stream in self.streams.items()}
        documents = np.concatenate([np.zeros((0, 2), np.int64), *self.documents])
        file = shard_file(self.folder, "documents", self.index)
        np.save(file, documents)
        sums["documents"] = sha256_of(file)
        return {
            "tokens": self.num_tokens,
            "documents": len(documents),
            "bytes": int(documents[:, 1].sum()),
            "sha256": sums,
            "blocks": self.blocks,
        }


class CorpusWriter:
    """Writes a prepared corpus, shard by shard, in bounded memory; corpus.json comes last.

    The folder must be a side folder that the caller renames into place; an interrupted writer leaves no corpus.json.
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
        self.facts = facts_of(split, tokenizer_hash, vocab_size)
        self.block_tokens, self.shard_tokens = block_tokens, shard_tokens
        self.dtype = token_dtype(vocab_size)
        self.shards: list[dict[str, Any]] = []
        out.mkdir(parents=True, exist_ok=True)
        self._open_shard()

    def _open_shard(self) -> None:
        self.shard = ShardWriter(self.out, len(self.shards), self.dtype, self.block_tokens)

    def add(self, ids: np.ndarray, marks: np.ndarray, num_bytes: int) -> None:
        """Append one document: ids and marks (tokens,), without special tokens; num_bytes, the size of its UTF-8."""
        self.add_documents(ids, marks, np.array([len(ids)]), np.array([num_bytes]))

    def add_documents(self, ids: np.ndarray, marks: np.ndarray, lengths: np.ndarray, sizes: np.ndarray) -> None:
        """Append documents that stand one after another in ids and marks (tokens,).

        lengths: (documents,) tokens of each. sizes: (documents,) bytes of its UTF-8.
        """
        assert len(ids) == len(marks) == lengths.sum() and (lengths > 0).all()
        ends = np.cumsum(lengths)
        first = start = 0  # document and token
        while first < len(lengths):
            stop = fitting(ends, first, start, self.shard_tokens, self.shard.num_tokens)
            if stop == first:
                self.shards.append(self.shard.close())
                self._open_shard()
                continue
            end = int(ends[stop - 1])
            self.shard.add(ids[start:end], marks[start:end], lengths[first:stop], sizes[first:stop])
            first, start = stop, end

    def close(
        self,
        dropped: dict[str, int] | None = None,
        provenance: dict[str, Any] | None = None,
        languages: dict[str, Any] | None = None,
        dropped_examples: dict[str, list[str]] | None = None,
    ) -> None:
        """Finish the last shard and write corpus.json, as `write_manifest` does."""
        self.shards.append(self.shard.close())
        write_manifest(
            self.out,
            self.facts,
            self.shards,
            self.block_tokens,
            dropped=dropped,
            provenance=provenance,
            languages=languages,
            dropped_examples=dropped_examples,
        )


def fitting(ends: np.ndarray, first: int, start: int, shard_tokens: int, num_tokens: int) -> int:
    """Where the documents from `first` on that the shard has room for end; `first` where the shard is full.

    ends: (documents,) where each ends, in tokens. start: where the first begins. num_tokens: in the shard so far; an
    empty one takes a document of any length.
    """
    stop = int(np.searchsorted(ends, start + shard_tokens - num_tokens, side="right"))
    return max(stop, first if num_tokens else first + 1)


def token_dtype(vocab_size: int) -> np.dtype:
    """How tokens are stored: uint16 where it can hold them all."""
    return np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)


def facts_of(split: str, tokenizer_hash: str, vocab_size: int) -> dict[str, Any]:
    """The first keys of corpus.json."""
    return {"format": FORMAT, "split": split, "tokenizer_hash": tokenizer_hash, "vocab_size": vocab_size}


def write_manifest(
    out: Path,
    facts: dict[str, Any],
    shards: list[dict[str, Any]],
    block_tokens: int,
    *,
    dropped: dict[str, int] | None,
    provenance: dict[str, Any] | None,
    languages: dict[str, Any] | None,
    dropped_examples: dict[str, list[str]] | None,
) -> None:
    """Write corpus.json. shards: what ShardWriter.close gave for each.

    dropped: records left out, by reason; dropped_examples: places of some. languages: `language`, as requested, and
    `languages`, the number of documents of the whole corpus by language code.
    """
    totals = {key: sum(shard[key] for shard in shards) for key in ("documents", "tokens", "bytes")}
    totals["sentences"] = sum(sum(shard["blocks"]["sentences"]) for shard in shards)
    manifest = {
        **facts,
        **totals,
        **(languages or {}),
        "dropped": dropped or {},
        "dropped_examples": dropped_examples or {},
        "provenance": provenance or {},
        "block_tokens": block_tokens,
        "shards": shards,
    }
    (out / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False) + "\n", encoding="utf-8")
