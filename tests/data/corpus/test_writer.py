"""What goes into a corpus comes out of it."""

import itertools

import numpy as np
import pytest

from tests.data.corpus.written import write
from textssl.data.corpus.corpus import Corpus


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
