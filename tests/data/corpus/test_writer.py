"""What goes into a corpus comes out of it."""

import itertools

import numpy as np
import pytest

from tests.data.corpus.written import write
from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.writer import CorpusWriter


@pytest.mark.parametrize("vocab_size, dtype", [(1000, np.uint16), (70_000, np.uint32)])
def test_documents_come_back(tmp_path, vocab_size, dtype):
    lengths = np.random.default_rng(1).integers(1, 60, 200)
    written = write(tmp_path, lengths, vocab_size, block_tokens=100, shard_tokens=1000)
    corpus = Corpus.open(tmp_path)
    read = []
    for index in range(len(corpus.manifest["shards"])):
        shard = corpus.shard(index)
        assert shard.tokens.dtype == dtype
        bounds = shard.bounds(0, len(shard.documents))
        read += [shard.tokens[a:b] for a, b in itertools.pairwise(bounds)]
    assert len(read) == len(written) == corpus.documents
    assert all(np.array_equal(a, b) for a, b in zip(read, written, strict=True))
    assert corpus.tokens == lengths.sum() and corpus.bytes == 4 * lengths.sum()
    corpus.check()


def test_blocks_cover_the_shards(tmp_path):
    lengths = np.random.default_rng(2).integers(1, 60, 300)
    write(tmp_path, lengths, block_tokens=100, shard_tokens=1000)
    corpus = Corpus.open(tmp_path)
    blocks = corpus.blocks
    assert blocks.tokens.sum() == corpus.tokens and blocks.documents.sum() == corpus.documents
    assert blocks.sentences.sum() == corpus.manifest["sentences"]
    for shard, first, documents, tokens in zip(
        blocks.shard, blocks.first_document, blocks.documents, blocks.tokens, strict=True
    ):
        bounds = corpus.shard(int(shard)).bounds(first, first + documents)
        assert bounds[-1] - bounds[0] == tokens


def test_the_same_documents_make_the_same_bytes(tmp_path):
    for name in "ab":
        write(tmp_path / name, [5, 9, 30], block_tokens=10)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("run", [1, 7, 500])
def test_runs_of_documents_are_cut_as_single_ones_are(tmp_path, run):
    rng = np.random.default_rng(4)
    lengths = np.concatenate([rng.integers(1, 60, 250), [2000, 1, 1000, 1000], rng.integers(1, 60, 50)])
    ids, marks = rng.integers(0, 900, lengths.sum()), rng.choice([0, 1, 3], lengths.sum()).astype(np.uint8)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    for name, step in (("single", 1), ("runs", run)):
        options = {"tokenizer_hash": "h", "vocab_size": 1000, "split": "train"}
        writer = CorpusWriter(tmp_path / name, block_tokens=100, shard_tokens=1000, **options)
        for first in range(0, len(lengths), step):
            part = lengths[first : first + step]
            tokens = slice(bounds[first], bounds[first + len(part)])
            if step == 1:
                writer.add(ids[tokens], marks[tokens], int(2 * part[0]))
            else:
                writer.add_documents(ids[tokens], marks[tokens], part, 2 * part)
        writer.close()
    for file in (tmp_path / "single").iterdir():
        assert file.read_bytes() == (tmp_path / "runs" / file.name).read_bytes()
    corpus = Corpus.open(tmp_path / "runs")
    held = [shard["tokens"] for shard in corpus.manifest["shards"]]
    assert len(held) > 10 and all(size <= 1000 or size == 2000 for size in held) and sum(held) == lengths.sum()
    full = corpus.blocks.tokens >= 100
    last = np.append(corpus.blocks.shard[1:] != corpus.blocks.shard[:-1], True)
    assert (full | last).all() and (corpus.blocks.tokens < 160 + 1900).all()
