"""Given pairs: what is read, what is dropped, what stops, and in which order they come."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from textssl.data.labelled.given_pairs import read_pairs
from textssl.data.text import drops
from textssl.data.text.drops import DropReport
from textssl.errors import UserError
from textssl.sample_types import PairFacts

PAIR = {"text_a": "a b", "text_b": "c"}


def encode(texts):
    """A token for each character that is no space."""
    return [[ord(letter) for letter in text if letter != " "] for text in texts]


def jsonl(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path, length=50, score_range=(0.0, 1.0), seed=0):
    report = DropReport()
    found = read_pairs(path, encode, seed=seed, length=length, score_range=score_range, report=report)
    return found, report


def texts(pairs):
    decode = lambda ids: "".join(map(chr, ids))  # noqa: E731
    return [(decode(p.left), decode(p.right), *map(decode, p.negatives)) for p in pairs.pairs]


def test_every_format_gives_the_same_pairs(tmp_path):
    records = [PAIR | {"label": "yes", "more": 1}, {"text_a": "d", "text_b": "e", "label": "no", "more": 2}]
    jsonl(tmp_path / "p.jsonl", *records)
    table = pyarrow.table({key: [record[key] for record in records] for key in records[0]})
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    (tmp_path / "p.csv").write_text("label,text_b,more,text_a\nyes,c,1,a b\nno,e,2,d\n")
    for path in sorted(tmp_path.iterdir()):
        pairs, report = read(path)
        assert texts(pairs) == [("ab", "c"), ("d", "e")] and report.total == 0
        assert pairs.facts == PairFacts(0, ("no", "yes"), False)
        assert [pair.target for pair in pairs.pairs] == [1.0, 0.0]


def test_an_unquoted_comma_drops_the_pair(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("text_a,text_b,label\na b,c,yes\nd, e,f,no\ng,h,no\n")
    pairs, report = read(path)
    assert texts(pairs) == [("ab", "c"), ("g", "h")] and pairs.facts.classes == ("no", "yes")
    assert report.places == {drops.MORE_FIELDS: [f"{path}:3 (4 instead of 3)"]}


def test_plain_pairs_have_no_target_and_texts_are_cut(tmp_path):
    pairs, _ = read(jsonl(tmp_path / "p.jsonl", {"text_a": "abcdef", "text_b": "gh"}), length=4)
    assert texts(pairs) == [("abcd", "gh")] and pairs.facts == PairFacts()
    assert pairs.pairs[0].target is None and pairs.pairs[0].left.dtype == "int64"


def test_negatives_may_be_ragged(tmp_path):
    path = jsonl(
        tmp_path / "p.jsonl",
        PAIR | {"negative": "x"},
        PAIR | {"negative_1": "y", "negative_2": "z", "negative": "w"},
        PAIR | {"negative": None, "negative_2": "v"},
        PAIR | {"negative": " "},
        PAIR,
    )
    pairs, report = read(path)
    assert [pair[2:] for pair in texts(pairs)] == [("x",), ("w", "y", "z"), ("v",), (), ()]
    assert pairs.facts.num_negatives == 3 and report.total == 0


@pytest.mark.parametrize(
    ("labels", "classes", "targets"),
    [
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([2, 0, 1], ("0", "1", "2"), [2, 0, 1]),
        ([1.0, 2.0, 1], ("1", "2"), [0, 1, 0]),
        ([" x ", "x", "y"], ("x", "y"), [0, 0, 1]),
    ],
)
def test_labels_are_classes_in_sorted_order(tmp_path, labels, classes, targets):
    pairs, _ = read(jsonl(tmp_path / "p.jsonl", *(PAIR | {"label": label} for label in labels)))
    assert pairs.facts.classes == classes and [pair.target for pair in pairs.pairs] == targets


def test_scores_are_numbers_and_a_label_goes_before_them(tmp_path):
    scores = [0, "2.5", 5.0]
    pairs, _ = read(jsonl(tmp_path / "s.jsonl", *(PAIR | {"score": s} for s in scores)), score_range=(0, 5))
    assert [pair.target for pair in pairs.pairs] == [0.0, 2.5, 5.0] and pairs.facts == PairFacts(0, (), True)
    both = [PAIR | {"score": 9, "label": label} for label in "ab"]
    pairs, _ = read(jsonl(tmp_path / "b.jsonl", *both))
    assert pairs.facts == PairFacts(0, ("a", "b"), False)


def test_pairs_of_empty_texts_are_dropped_and_counted(tmp_path):
    empty = {"text_a": "", "text_b": " "}
    path = jsonl(tmp_path / "p.jsonl", empty, PAIR, {"text_a": None, "text_b": None}, PAIR)
    with path.open("a") as file:
        file.write('{"broken\n')
    pairs, report = read(path)
    assert len(pairs) == 2
    assert report.as_dict() == {drops.EMPTY_TEXT: 2, drops.INVALID_JSON: 1}
    assert report.places[drops.EMPTY_TEXT][0].startswith(f"{path}:1")


def test_texts_that_the_tokenizer_sees_nothing_in_are_dropped_and_counted(tmp_path):
    def blind(texts):
        return [[] if text == "?" else [1] for text in texts]

    path = jsonl(
        tmp_path / "p.jsonl",
        PAIR,
        {"text_a": "?", "text_b": "c", "negative": "d"},
        {"text_a": "a", "text_b": "?"},
        PAIR | {"negative": "?", "negative_1": "e"},
    )
    report = DropReport()
    pairs = read_pairs(path, blind, seed=0, length=9, score_range=(0, 1), report=report)
    assert len(pairs) == 2 and [len(pair.negatives) for pair in pairs.pairs] == [0, 1]
    assert report.as_dict() == {drops.NO_TOKENS: 2} and report.places[drops.NO_TOKENS] == [f"{path}:2", f"{path}:3"]
    with pytest.raises(UserError, match="no pair that can be used"):
        read_pairs(path, lambda texts: [[] for _ in texts], seed=0, length=9, score_range=(0, 1), report=report)


@pytest.mark.parametrize(
    ("records", "place", "message"),
    [
        ([{"text_a": "a", "b": "c"}], ":1", "there is no column text_b; there are text_a, b; a pair file has"),
        ([{"a": "a", "text_b": "c"}], ":1", "there is no column text_a"),
        ([PAIR, {"text_a": "a"}], ":2", "the pair has no text_b; give both texts"),
        ([PAIR, {"text_a": " ", "text_b": "c"}], ":2", "the pair has no text_a"),
        ([PAIR | {"score": 0.5}, PAIR | {"score": 3}], ":2", r"the score 3 is outside objective.score_range=\[0.0, 1"),
        ([PAIR | {"score": 0.5}, PAIR | {"score": -0.1}], ":2", "the score -0.1 is outside"),
        ([PAIR | {"score": 1}, PAIR | {"score": "high"}], ":2", "the score 'high' is not a number"),
        ([PAIR | {"score": 1}, PAIR | {"score": float("nan")}], ":2", "the score nan is not a number"),
        ([PAIR | {"score": 1}, PAIR | {"score": True}], ":2", "the score True is not a number"),
        ([PAIR | {"score": 1}, PAIR], ":2", "the score None is not a number"),
        ([PAIR | {"label": "x"}, PAIR | {"label": "x"}], "", "every pair has the label 'x'; leave the column out"),
        ([PAIR | {"label": "x"}, PAIR], ":2", "the pair has no label, others of this file have one"),
        ([PAIR | {"label": "x"}, PAIR | {"label": " "}], ":2", "the pair has no label"),
        ([{"text_a": "", "text_b": ""}], "", "no pair that can be used; dropped: empty text: 1"),
    ],
)
def test_mistakes_are_named_with_their_place(tmp_path, records, place, message):
    path = jsonl(tmp_path / "p.jsonl", *records)
    with pytest.raises(UserError, match=message) as caught:
        read(path)
    assert f"{path}{place}" in str(caught.value)


def test_what_is_no_table_of_pairs_is_refused(tmp_path):
    (tmp_path / "p.txt").write_text("a\n\nb\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "blank.jsonl").write_text("\n\n")
    (tmp_path / "header.csv").write_text("text_a,text_b\n")
    (tmp_path / "folder").mkdir()
    for name in ("a", "b"):
        jsonl(tmp_path / "folder" / f"{name}.jsonl", PAIR)
    for name, message in {
        "p.txt": "is not one table: give a .jsonl, .csv or .parquet file; a pair file has",
        "empty.jsonl": r"is empty \(0 bytes\)",
        "blank.jsonl": "holds no pair; a pair file has the columns text_a and text_b",
        "header.csv": "holds no pair",
        "folder": "is not one table",
        "nowhere.jsonl": "there is no file",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


@pytest.fixture
def many(tmp_path):
    return jsonl(tmp_path / "p.jsonl", *({"text_a": chr(300 + n), "text_b": "c"} for n in range(40)))


def order(pairs, epoch):
    return [int(pairs.sample(epoch * len(pairs) + place).left[0]) for place in range(len(pairs))]


def test_every_pair_comes_once_an_epoch_in_a_new_order(many):
    pairs, _ = read(many)
    orders = [order(pairs, epoch) for epoch in (0, 1, 7)]
    assert all(Counter(found) == Counter(range(300, 340)) for found in orders)
    assert len({tuple(found) for found in [*orders, order(read(many, seed=1)[0], 0)]}) == 4
    assert order(read(many)[0], 7) == orders[2]  # found late, without those before
    draws = {pairs.rng(index).random() for index in range(200)}
    assert len(draws) == 200 and pairs.rng(3).random() == read(many)[0].rng(3).random()


def test_the_fingerprint_follows_texts_negatives_and_targets(tmp_path):
    variants = [
        [PAIR, PAIR],
        [PAIR, {"text_a": "a c", "text_b": "c"}],
        [PAIR, PAIR | {"negative": "n"}],
        [PAIR | {"score": 0.5}, PAIR | {"score": 0.5}],
        [PAIR | {"score": 0.5}, PAIR | {"score": 0.6}],
        [PAIR | {"label": "a"}, PAIR | {"label": "b"}],
        [PAIR | {"label": "a"}, PAIR | {"label": "c"}],
    ]
    prints = [read(jsonl(tmp_path / "p.jsonl", *records))[0].fingerprint for records in variants]
    assert len(set(prints)) == len(variants)
    assert read(jsonl(tmp_path / "q.jsonl", *variants[0]))[0].fingerprint == prints[0]


def test_only_the_column_that_is_learned_is_judged(tmp_path):
    rows = [PAIR | {"label": "same", "score": 9}, PAIR | {"label": None, "score": 3}]
    path = jsonl(tmp_path / "p.jsonl", *rows)
    options = {"seed": 0, "length": 9, "score_range": (0.0, 10.0), "report": DropReport()}
    assert read_pairs(path, encode, target="none", **options).facts == PairFacts()
    scored = read_pairs(path, encode, target="score", **options)
    assert scored.facts.scored and [pair.target for pair in scored.pairs] == [9.0, 3.0]
    with pytest.raises(UserError, match="the pair has no label"):
        read_pairs(path, encode, **options)


def test_columns_that_look_like_negatives_are_not_passed_over(tmp_path):
    for row, message in (
        (PAIR | {"negatives": ["x"]}, "the column negatives is unknown"),
        (PAIR | {"negative": 5}, "negative is a int; a negative is a text"),
    ):
        with pytest.raises(UserError, match=f"n.jsonl:1: {message}"):
            read(jsonl(tmp_path / "n.jsonl", row))


def test_half_a_surrogate_pair_is_no_text_and_no_label(tmp_path):
    good = PAIR | {"negative": "n", "label": "yes"}
    path = jsonl(tmp_path / "p.jsonl", good, good | {"negative": "\ud800"}, good | {"label": "no"})
    pairs, report = read(path)
    assert len(pairs.pairs) == 2 and report.as_dict() == {drops.INVALID_UTF8: 1}
    with pytest.raises(UserError, match=r"p\.jsonl:2: the label .*ud800' holds half of a surrogate pair"):
        read(jsonl(tmp_path / "p.jsonl", good, good | {"label": "\ud800"}))


@pytest.mark.parametrize("score", ["1" * 400, "1_000"])
def test_a_score_that_no_float_holds(tmp_path, score):
    path = tmp_path / "a.csv"
    path.write_text(f"text_a,text_b,score\na,b,{score}\n")
    with pytest.raises(UserError, match=r"a\.csv:2: the score '1[1_].* is not a number") as caught:
        read(path)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("label", [["a"], {"a": 1}, 0.5])
def test_a_label_that_is_no_class(tmp_path, label):
    path = jsonl(tmp_path / "a.jsonl", {**PAIR, "label": label}, {**PAIR, "label": "x"})
    with pytest.raises(UserError, match=r"a\.jsonl:1: the label .* is neither a string nor a whole number"):
        read(path)
