"""A corpus.json that is not what prepare wrote is damage, and named."""

import json

import pytest

from tests.data.corpus.written import write
from textssl.data.corpus.corpus import Corpus
from textssl.errors import UserError


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
