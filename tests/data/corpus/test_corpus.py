import itertools
import json

import numpy as np
import pytest

from textssl.data.corpus.corpus import Corpus, CorpusWriter
from textssl.errors import UserError


def write(path, lengths, vocab_size=1000, **options):
    rng = np.random.default_rng(0)
    writer = CorpusWriter(path, tokenizer_hash="h", vocab_size=vocab_size, split="train", **options)
    documents = [rng.integers(5, vocab_size, n) for n in lengths]
    for ids in documents:
        marks = (np.arange(len(ids)) % 7 == 0).astype(np.uint8) * 2 + 1
        writer.add(ids, marks, num_bytes=4 * len(ids))
    writer.close({"empty": 2})
    return documents


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


def test_unfinished_and_altered_folders_are_named(tmp_path):
    with pytest.raises(UserError, match="not a prepared corpus"):
        Corpus.open(tmp_path)
    write(tmp_path, [10, 20])
    corpus = Corpus.open(tmp_path)
    tokens = np.load(tmp_path / "tokens-00000.npy")
    np.save(tmp_path / "tokens-00000.npy", tokens[::-1])
    with pytest.raises(UserError, match=r"tokens-00000\.npy"):
        corpus.check()
    manifest = json.loads((tmp_path / "corpus.json").read_text())
    (tmp_path / "corpus.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(UserError, match="format 99"):
        Corpus.open(tmp_path)


DAMAGES = {
    "tokens": [lambda a: a ^ 1, lambda a: a * 0, lambda a: a[::-1], lambda a: a[:-1]],
    "marks": [lambda a: a * 0],
    "documents": [lambda a: a + np.array([1, 0]), lambda a: a[:1]],
}


@pytest.mark.parametrize(("kind", "damage"), [(kind, one) for kind, some in DAMAGES.items() for one in some])
def test_every_damage_is_found(tmp_path, kind, damage):
    write(tmp_path, [10, 20, 30])
    assert Corpus.open(tmp_path).check() > 0 == Corpus.open(tmp_path).check()  # read once
    file = tmp_path / f"{kind}-00000.npy"
    np.save(file, damage(np.load(file)))
    with pytest.raises(UserError, match=file.name):
        Corpus.open(tmp_path).check()


def test_tokens_beyond_the_vocabulary_are_found(tmp_path):
    write(tmp_path, [10, 20])
    manifest = json.loads((tmp_path / "corpus.json").read_text())
    (tmp_path / "corpus.json").write_text(json.dumps({**manifest, "vocab_size": 100}))
    with pytest.raises(UserError, match=r"holds the token \d+, but the vocabulary has 100"):
        Corpus.open(tmp_path).check()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[]", "no JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"format": 1}', "documents is missing"),
        ("tokens", "tokens is no int"),
        ("shards", "shards is no list"),
        ("blocks", "KeyError"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, text, what):
    write(tmp_path, [10])
    file = tmp_path / "corpus.json"
    manifest = json.loads(file.read_text())
    if text in manifest:
        text = json.dumps({**manifest, text: "?"})
    elif text == "blocks":
        text = json.dumps({**manifest, "shards": [{}]})
    file.write_text(text)
    with pytest.raises(UserError, match=what):
        Corpus.open(tmp_path)


def test_the_same_documents_make_the_same_bytes(tmp_path):
    for name in "ab":
        write(tmp_path / name, [5, 9, 30], block_tokens=10)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_counts_that_are_no_integers_are_damage(tmp_path):
    file = write_infinite(tmp_path)
    with pytest.raises(UserError, match=r"corpus\.json is damaged \(OverflowError"):
        Corpus.open(file.parent)


@pytest.mark.parametrize("sums", [0.5, {}, {"tokens": "x"}, {"tokens": "x", "marks": 1, "documents": "x"}])
def test_a_shard_whose_sums_are_not_there_is_damage(tmp_path, sums):
    file = write_infinite(tmp_path)
    manifest = json.loads(file.read_text())
    manifest["shards"][0] |= {"sha256": sums, "tokens": 1, "documents": 1}
    manifest["shards"][0]["blocks"]["documents"] = [1]
    file.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"corpus\.json is damaged \(TypeError: the sums of a shard are"):
        Corpus.open(tmp_path)


def write_infinite(folder):
    counts = {"documents": [float("inf")], "sentences": [1], "tokens": [1]}
    sums = dict.fromkeys(("tokens", "marks", "documents"), "x")
    shard = {"blocks": counts, "tokens": 1, "documents": 1, "sha256": sums}
    manifest = {"format": 1, "documents": 1, "sentences": 1, "tokens": 1, "bytes": 1, "vocab_size": 9}
    manifest |= {"tokenizer_hash": "x", "shards": [shard]}
    (folder / "corpus.json").write_text(json.dumps(manifest))
    return folder / "corpus.json"
