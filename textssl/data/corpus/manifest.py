"""corpus.json, the manifest of a prepared corpus, checked when it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.shards import FILES
from textssl.errors import UserError, excerpt

FORMAT = 1
MANIFEST = "corpus.json"
BLOCK_COUNTS = ("documents", "sentences", "tokens")
MANIFEST_KEYS = {  # the keys of corpus.json that are read
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


def read_manifest(file: Path) -> dict[str, Any]:
    """The content of corpus.json. Raises UserError where it is damaged, lacks a key or has another format."""
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
    """Raises TypeError or KeyError where a shard of corpus.json lacks its counts or the sha256 of one of its files."""
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
