"""Writes a prepared corpus, shard by shard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.manifest import BLOCK_COUNTS, FORMAT, MANIFEST
from textssl.data.corpus.shards import NpyStream, shard_file
from textssl.sample_types import SENTENCE_START
from textssl.system.checksums import sha256_of


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
        self.facts = {"format": FORMAT, "split": split, "tokenizer_hash": tokenizer_hash, "vocab_size": vocab_size}
        self.block_tokens, self.shard_tokens = block_tokens, shard_tokens
        self.dtype = np.dtype(np.uint16 if vocab_size <= 2**16 else np.uint32)
        self.shards: list[dict[str, Any]] = []
        out.mkdir(parents=True, exist_ok=True)
        self._open_shard()

    def _open_shard(self) -> None:
        self.num_tokens = 0
        self.documents: list[np.ndarray] = []  # (documents, 2) each, first token and bytes
        self.blocks: dict[str, list[int]] = {key: [] for key in BLOCK_COUNTS}
        self.block_open = False
        index = len(self.shards)
        self.streams = {
            "tokens": NpyStream(shard_file(self.out, "tokens", index), self.dtype),
            "marks": NpyStream(shard_file(self.out, "marks", index), np.dtype(np.uint8)),
        }

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
            room = np.searchsorted(ends, start + self.shard_tokens - self.num_tokens, side="right") - first
            if room <= 0 and self.num_tokens:
                self._close_shard()
                self._open_shard()
                continue
            if not self.block_open:
                for counts in self.blocks.values():
                    counts.append(0)
            missing = self.block_tokens - self.blocks["tokens"][-1]
            to_full = np.searchsorted(ends, start + missing) + 1 - first  # a block ends with the document that fills it
            stop = min(first + max(int(room), 1), first + int(to_full), len(lengths))
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

    def _close_shard(self) -> None:
        index = len(self.shards)
        sums = {kind: stream.close() for kind, stream in self.streams.items()}
        documents = np.concatenate([np.zeros((0, 2), np.int64), *self.documents])
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
        dropped_examples: dict[str, list[str]] | None = None,
    ) -> None:
        """Finish the last shard and write corpus.json.

        dropped: records left out, by reason; dropped_examples: places of some. languages: `language`, as requested, and
        `languages`, the number of documents of the whole corpus by language code.
        """
        self._close_shard()
        totals = {key: sum(shard[key] for shard in self.shards) for key in ("documents", "tokens", "bytes")}
        totals["sentences"] = sum(sum(shard["blocks"]["sentences"]) for shard in self.shards)
        manifest = {
            **self.facts,
            **totals,
            **(languages or {}),
            "dropped": dropped or {},
            "dropped_examples": dropped_examples or {},
            "provenance": provenance or {},
            "block_tokens": self.block_tokens,
            "shards": self.shards,
        }
        (self.out / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False) + "\n", encoding="utf-8")
