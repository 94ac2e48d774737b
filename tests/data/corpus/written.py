"""A small corpus of random tokens."""

from __future__ import annotations

import numpy as np

from textssl.data.corpus.writer import CorpusWriter


def write(path, lengths, vocab_size=1000, **options):
    rng = np.random.default_rng(0)
    writer = CorpusWriter(path, tokenizer_hash="h", vocab_size=vocab_size, split="train", **options)
    documents = [rng.integers(5, vocab_size, n) for n in lengths]
    for ids in documents:
        marks = (np.arange(len(ids)) % 7 == 0).astype(np.uint8) * 2 + 1
        writer.add(ids, marks, num_bytes=4 * len(ids))
    writer.close({"empty": 2})
    return documents
