import json
import shutil

import numpy as np
import pytest

from tests.data.corpus.written import write
from textssl.data.corpus.corpus import Corpus
from textssl.errors import UserError


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


def test_a_corpus_that_is_written_anew_is_read_anew(tmp_path, monkeypatch):
    for name, lengths in (("one", [10, 20]), ("other", [20, 10, 5])):  # each has its own at the same relative path
        written = write(tmp_path / name / "corpus", lengths)
        monkeypatch.chdir(tmp_path / name)
        assert Corpus.open("corpus").shard(0).tokens.tolist() == np.concatenate(written).tolist()
    shutil.rmtree("corpus")
    write(tmp_path / "other" / "corpus", [35, 7])
    assert [end - first for _, first, end in Corpus.open("corpus").document_bounds()] == [35, 7]


def test_shards_of_a_corpus_that_was_replaced_after_it_was_opened_are_refused(tmp_path):
    write(tmp_path, [10, 20])
    corpus = Corpus.open(tmp_path)
    for file in tmp_path.iterdir():
        file.unlink()
    write(tmp_path, [10, 20, 30])
    with pytest.raises(UserError, match="holds other counts than"):
        corpus.shard(0)
