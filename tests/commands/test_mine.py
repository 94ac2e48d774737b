from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import textssl
from tests.evaluation.folders import save_model
from tests.tiny import texts, tiny_tokenizer
from textssl import tokenizer
from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.positive_pairs import TOO_SHORT, Reservoir, corpus_pairs
from textssl.data.language.sentences import sentence_starts
from textssl.data.text.drops import DropReport
from textssl.errors import UserError
from textssl.inference.encoders import load_encoder

DOCUMENTS = [text[:600] for text in texts()[:40]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """model, and a corpus prepared with its tokenizer, all documents in the train split."""
    folder = tmp_path_factory.mktemp("mine")
    save_model(folder / "model", "bert")
    lines = (json.dumps({"text": text}) + "\n" for text in DOCUMENTS)
    (folder / "text.jsonl").write_text("".join(lines))
    textssl.prepare([folder / "text.jsonl"], folder / "model", folder / "corpus", workers=1, held_out=0.0)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_sentence_pairs_are_neighbours_and_negatives_come_from_other_documents(folder, tmp_path, capsys):
    result = textssl.mine(folder / "model", tmp_path / "pairs.jsonl", folder / "corpus", num_negatives=2)
    found = rows(tmp_path / "pairs.jsonl")
    assert len(found) == result.written > 20
    whole = [squeezed(text) for text in DOCUMENTS]
    for row in found:
        assert list(row) == ["text_a", "text_b", "negative_1", "negative_2"]
        homes = [text for text in whole if squeezed(row["text_a"]) + squeezed(row["text_b"]) in text]
        assert homes
        assert not any(squeezed(row[f"negative_{place}"]) in home for place in (1, 2) for home in homes)
    assert f"{result.drawn} pairs in, {result.written} out" in capsys.readouterr().out


def test_first_negative_is_the_most_similar_text_of_another_document(folder, tmp_path):
    textssl.mine(folder / "model", tmp_path / "pairs.jsonl", folder / "corpus", unit="passages")
    found = rows(tmp_path / "pairs.jsonl")
    assert list(found[0]) == ["text_a", "text_b", "negative"]
    encoder = load_encoder(folder / "model")
    anchors, candidates = (encoder.embed([row[key] for row in found]) for key in ("text_a", "text_b"))
    similar = anchors @ candidates.T
    np.fill_diagonal(similar, -1)
    nearest = [found[place]["text_b"] for place in similar.argmax(axis=1)]
    agree = np.mean([row["negative"] == text for row, text in zip(found, nearest, strict=True)])
    assert agree > 0.9  # pairs that were dropped are candidates too


def test_bounds_are_passed_on(folder, tmp_path):
    textssl.mine(folder / "model", tmp_path / "a.jsonl", folder / "corpus")
    textssl.mine(folder / "model", tmp_path / "b.jsonl", folder / "corpus", range_min=3)
    before = {row["text_a"]: row["negative"] for row in rows(tmp_path / "a.jsonl")}
    after = {row["text_a"]: row["negative"] for row in rows(tmp_path / "b.jsonl")}
    assert sum(before[text] != after[text] for text in after) > len(after) / 2
    with pytest.raises(UserError, match=r"none of .* pairs has 1 negatives within these bounds"):
        textssl.mine(folder / "model", tmp_path / "c.jsonl", folder / "corpus", max_score=-0.999)
    assert not (tmp_path / "c.jsonl").exists()


def test_pairs_of_a_file_with_duplicates_and_broken_records(folder, tmp_path, capsys):
    pairs = [{"text_a": f"question {n} about {word}", "text_b": f"{word} is answer {n}"} for n, word in
             enumerate(["bread", "boats", "music", "storms", "knives"])]  # fmt: skip
    lines = [json.dumps(pair) for pair in [*pairs, pairs[0], {"text_a": "only"}, {"text_a": "x", "text_b": ""}]]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    result = textssl.mine(folder / "model", tmp_path / "out.jsonl", pairs=tmp_path / "in.jsonl")
    assert (result.found, result.drawn, result.written) == (6, 6, 5)
    assert result.dropped == {"pairs that are there already": 1}
    said = capsys.readouterr().out
    assert "missing column" in said and "empty text" in said
    for row in rows(tmp_path / "out.jsonl"):
        assert row["negative"] != row["text_b"]


def test_a_pair_that_stands_in_several_documents_gives_none_of_them_a_negative(folder, tmp_path):
    """The documents share a boilerplate pair, which is the nearest to their other one."""
    model, corpus = folder / "model", tmp_path / "corpus"
    names = ("boats", "bread", "music", "storms")
    shared = "All rights of this page are reserved by us. You may not copy any of the words."
    documents = [f"{shared} We write of {name} and of us here. The {name} may not copy any words." for name in names]
    documents += ["Other pages have other words than these. Their second sentence is a longer one."]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    textssl.prepare(tmp_path / "text.jsonl", model, corpus, workers=1, held_out=0.0)
    textssl.mine(model, tmp_path / "out.jsonl", corpus, num_negatives=1)
    found = rows(tmp_path / "out.jsonl")
    assert sum(row["text_a"].startswith("We write of") for row in found) == len(names)
    for row in found:
        if row["text_a"].startswith("We write of"):
            assert not row["negative"].startswith("You may not copy")


def test_max_pairs_draws_evenly_and_says_so(folder, tmp_path, capsys):
    result = textssl.mine(folder / "model", tmp_path / "out.jsonl", folder / "corpus", max_pairs=10)
    assert result.drawn == 10 < result.found
    assert f"Drew 10 of {result.found} pairs" in capsys.readouterr().out


def test_corpus_pairs_are_the_sentences_of_the_text(folder):
    report = DropReport()
    words = tiny_tokenizer().backend_tokenizer
    pairs, found = corpus_pairs(Corpus.open(folder / "corpus"), words, "sentences", size=10_000, seed=0, report=report)
    text = DOCUMENTS[0]
    starts = [*sentence_starts(text), len(text)]
    first = [squeezed(text[starts[place] : starts[place + 1]]) for place in (0, 1)]
    own = [pair for pair in pairs if pair.document == 0]
    assert any([squeezed(pair.text_a), squeezed(pair.text_b)] == first for pair in own) or report.counts[TOO_SHORT]
    assert len(pairs) == found
    assert len({(pair.document, pair.text_a) for pair in pairs}) > 0.9 * len(pairs)


def test_reservoir_gives_every_item_the_same_chance():
    counts = np.zeros(20)
    for seed in range(2_000):
        reservoir: Reservoir[int] = Reservoir(5, np.random.default_rng(seed))
        for item in range(20):
            reservoir.add(item)
        kept = reservoir.items()
        assert len(kept) == 5 and kept == sorted(kept)
        counts[kept] += 1
    assert np.abs(counts / 2_000 - 0.25).max() < 0.05


def test_another_tokenizer_is_refused_and_the_right_one_accepted(folder, tmp_path):
    other = tokenizer.train_tokenizer(iter(texts()), algorithm="bpe", vocab_size=300)
    tokenizer.save(other, tmp_path / "other")
    with pytest.raises(UserError, match=r"is not the one that .* was prepared with"):
        textssl.mine(folder / "model", tmp_path / "o.jsonl", folder / "corpus", tokenizer=tmp_path / "other")
    textssl.mine(folder / "model", tmp_path / "o.jsonl", folder / "corpus", tokenizer=folder / "model", max_pairs=20)
    assert rows(tmp_path / "o.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "pairs.csv"}, "must name a file that ends in .jsonl"),
        ({"pairs": "pairs.jsonl"}, "either --corpus DIR or --pairs FILE"),
        ({"unit": "words"}, "--unit is 'words'"),
        ({"range_max": 3, "range_min": 2, "num_negatives": 2}, "leaves 1 candidates"),
        ({"corpus": "nowhere"}, "not a prepared corpus"),
        ({"model": "nowhere"}, "no model folder"),
    ],
)
def test_mistakes(options, message, folder, tmp_path):
    arguments = {"model": folder / "model", "corpus": folder / "corpus", **options}
    with pytest.raises(UserError, match=message):
        textssl.mine(**{**arguments, "out": tmp_path / options.get("out", "pairs.jsonl")})
    assert not list(tmp_path.iterdir())


def test_command_line(folder, tmp_path):
    from typer.testing import CliRunner

    from textssl.cli.app import app

    done = CliRunner().invoke(
        app,
        ["mine", "--model", str(folder / "model"), "--corpus", str(folder / "corpus"), "--max-pairs", "30",
         "--out", str(tmp_path / "pairs.jsonl"), "--margin", "-1", "--unit", "passages"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert rows(tmp_path / "pairs.jsonl")


def test_the_pairs_are_never_replaced(folder, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"text_a": "a", "text_b": "b"}\n')
    with pytest.raises(UserError, match="is an input itself"):
        textssl.mine(folder / "model", pairs, pairs=pairs)
    assert rows(pairs) == [{"text_a": "a", "text_b": "b"}]
