"""Sentences and neighbouring sentences of a corpus, against its marks read one by one."""

import itertools
import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest

from textssl.data.corpus.corpus import Corpus, CorpusWriter
from textssl.data.plan import windows
from textssl.data.plan.plan import Plan
from textssl.data.plan.windows import LONGEST_DOCUMENT_TOKENS, sentence_starts
from textssl.errors import UserError
from textssl.objectives.crops import Crops
from textssl.sample_types import SENTENCE_START, RowFormat


def write(path, documents, **options):
    """documents: of each the lengths of its sentences; every token is a number of its own."""
    writer = CorpusWriter(path, tokenizer_hash="h", vocab_size=2**20, split="train", **options)
    first, sentences = 0, []
    for lengths in documents:
        count = sum(lengths)
        marks = np.ones(count, np.uint8)
        marks[np.cumsum([0, *lengths[:-1]])] |= SENTENCE_START
        ids = np.arange(first, first + count)
        writer.add(ids, marks, num_bytes=count)
        ends = np.cumsum([0, *lengths])
        sentences.append([ids[a:b].tolist() for a, b in itertools.pairwise(ends)])
        first += count
    writer.close()
    return sentences


@pytest.fixture(scope="module", params=["one block", "blocks", "shards"])
def made(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(4)
    documents = [rng.integers(1, 30, rng.integers(1, 9)).tolist() for _ in range(150)]
    options = {"one block": {}, "blocks": {"block_tokens": 300}, "shards": {"block_tokens": 200, "shard_tokens": 2000}}
    sentences = write(path, documents, **options[request.param])
    corpus = Corpus.open(path)
    assert (len(corpus.blocks) > 1) == (request.param != "one block")
    assert (len(corpus.manifest["shards"]) > 1) == (request.param == "shards")
    return path, sentences


def plan(path, kind, seed=0, window_tokens=2**22) -> Any:
    corpora = [(Corpus.open(path), 1.0)]
    return Plan(corpora, kind=kind, length=64, form=RowFormat(), seed=seed, window_tokens=window_tokens)


@pytest.mark.parametrize("window_tokens", [2**22, 700])
@pytest.mark.parametrize("epoch", [0, 2])
def test_every_sentence_is_a_sample_once_an_epoch(made, window_tokens, epoch):
    path, documents = made
    found = plan(path, "sentences", window_tokens=window_tokens)
    expected = [tuple(sentence) for document in documents for sentence in document]
    samples = [found.sample(epoch * len(found) + index) for index in range(len(found))]
    assert Counter(tuple(sample.ids.tolist()) for sample in samples) == Counter(expected)
    assert len(found) == len(expected) == found.epochs[0].corpus.manifest["sentences"]
    assert all(s.marks[0] & SENTENCE_START and not (s.marks[1:] & SENTENCE_START).any() for s in samples)


@pytest.mark.parametrize("window_tokens", [2**22, 700])
@pytest.mark.parametrize("epoch", [0, 2])
def test_every_neighbouring_pair_is_a_sample_once_and_none_crosses_documents(made, window_tokens, epoch):
    path, documents = made
    found = plan(path, "adjacent", window_tokens=window_tokens)
    expected = [(tuple(left), tuple(right)) for document in documents for left, right in itertools.pairwise(document)]
    samples = [found.sample(epoch * len(found) + index) for index in range(len(found))]
    pairs = [(tuple(sample.left.ids.tolist()), tuple(sample.right.ids.tolist())) for sample in samples]
    assert Counter(pairs) == Counter(expected)
    assert len(found) == sum(len(document) - 1 for document in documents)


@pytest.mark.parametrize("kind", ["sentences", "adjacent"])
def test_orders_differ_by_epoch_and_seed_and_are_pure(made, kind):
    path, _ = made
    ids = lambda sample: (sample.left if kind == "adjacent" else sample).ids.tolist()  # noqa: E731
    orders = [
        [ids(found.sample(first + index)) for index in range(len(found))]
        for found, first in ((plan(path, kind), 0), (plan(path, kind), len(plan(path, kind))), (plan(path, kind, 1), 0))
    ]
    assert orders[0] != orders[1] and orders[0] != orders[2]
    late = plan(path, kind, window_tokens=700)
    assert ids(late.sample(777)) == ids(plan(path, kind, window_tokens=700).sample(777))


def test_documents_of_one_sentence_hold_no_neighbours(tmp_path):
    write(tmp_path / "one", [[5], [9]])
    assert len(plan(tmp_path / "one", "sentences")) == 2
    with pytest.raises(UserError, match="holds no two sentences in one document"):
        plan(tmp_path / "one", "adjacent")
    write(tmp_path / "some", [[5], [1, 2], [9]])
    sample = plan(tmp_path / "some", "adjacent").sample(0)
    assert (sample.left.ids.tolist(), sample.right.ids.tolist()) == ([5], [6, 7])


@pytest.fixture(scope="module")
def with_a_long_document(tmp_path_factory):
    path = tmp_path_factory.mktemp("long")
    return path, write(path, [[12, 9], [20] * 7500, [5]])


def test_of_a_long_document_every_epoch_shows_another_excerpt(with_a_long_document):
    path, documents = with_a_long_document
    whole = [token for sentence in documents[1] for token in sentence]
    found, sources = plan(path, "documents"), set()
    excerpts = []
    for index in range(3 * 4):
        sample = found.sample(index)
        if len(sample.ids) < 100:
            assert sample.source is None
            continue
        first = sample.ids[0] - whole[0]
        assert sample.ids.tolist() == whole[first : first + LONGEST_DOCUMENT_TOKENS]
        assert np.flatnonzero(sample.marks & SENTENCE_START)[0] == -first % 20
        excerpts.append(first)
        sources.add(sample.source)
        again = plan(path, "documents").sample(index)
        assert np.array_equal(sample.ids, again.ids) and again.source == sample.source
    assert len(set(excerpts)) == 4 and len(sources) == 1 and None not in sources


def test_a_long_sentence_is_read_to_twice_the_length_of_a_text(tmp_path):
    write(tmp_path, [[3, 500, 4], [500, 7]])
    lengths = [len(plan(tmp_path, "sentences").sample(index).ids) for index in range(5)]
    assert sorted(lengths) == [3, 4, 7, 128, 128]
    adjacent = [plan(tmp_path, "adjacent").sample(index) for index in range(3)]
    assert sorted((len(one.left.ids), len(one.right.ids)) for one in adjacent) == [(3, 128), (128, 4), (128, 7)]


def test_sentences_are_found_piece_by_piece(monkeypatch):
    marks = np.random.default_rng(0).integers(0, 4, 1000).astype(np.uint8)
    whole = sentence_starts(marks, 17, 900)
    monkeypatch.setattr(windows, "MARKS_AT_ONCE", 64)
    assert np.array_equal(sentence_starts(marks, 17, 900), whole)
    assert np.array_equal(whole, np.flatnonzero(marks[17:917] & SENTENCE_START))


def test_samples_of_a_long_document_need_little_memory(with_a_long_document):
    path, _ = with_a_long_document
    crops, found = Crops(), plan(path, "documents")
    found.sample(0)
    tracemalloc.start()
    views = [crops.make_view(found.sample(index), found.rng(index), 0.0) for index in range(60)]
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 400_000 and len({view.source for view in views}) == 3  # one excerpt alone has 0.6 MB
