"""Labelled sets: what is read, what is dropped, what stops."""

from __future__ import annotations

import bz2
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textssl.data.labelled.labelled_set import read_labeled
from textssl.data.text import drops
from textssl.errors import UserError


def jsonl(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def rows(labels: list) -> list[dict]:
    return [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]


def test_texts_and_labels_of_every_format(tmp_path):
    table = pyarrow.table({"text": ["one", "two"], "label": ["b", "a"], "more": [1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "set.parquet")
    (tmp_path / "set.csv").write_text("more,label,text\n1,b,one\n2,a,two\n")
    (tmp_path / "set.csv.bz2").write_bytes(bz2.compress((tmp_path / "set.csv").read_bytes()))
    jsonl(tmp_path / "set.jsonl", {"text": "one", "label": "b"}, {"text": "two", "label": "a", "more": 2})
    for path in sorted(tmp_path.iterdir()):
        found = read_labeled(path)
        assert (found.name, found.texts, found.labels, found.text_b, found.scores) == (
            "set",
            ["one", "two"],
            ["b", "a"],
            None,
            None,
        )
        assert found.label_names == ["a", "b"] and len(found) == 2 and found.report.total == 0


def test_the_other_target_names_its_configuration(tmp_path):
    scored = jsonl(tmp_path / "s.jsonl", {"text": "a", "score": 1.5}, {"text": "b", "score": 2.5})
    with pytest.raises(UserError, match=r"no column label; there are text, score; .*textssl finetune regression"):
        read_labeled(scored, target="label")
    with pytest.raises(UserError, match=r"no column score; there are text, label; .*textssl finetune classification"):
        read_labeled(jsonl(tmp_path / "l.jsonl", *rows(["a", "b"])), target="score")


def test_an_unquoted_comma_makes_no_class(tmp_path):
    path = tmp_path / "set.csv"
    path.write_text("text,label\nA fine film,pos\nA bad, boring film,neg\nA dull film,neg\n")
    found = read_labeled(path)
    assert found.label_names == ["neg", "pos"] and found.texts == ["A fine film", "A dull film"]
    assert found.report.places == {drops.MORE_FIELDS: [f"{path}:3 (3 instead of 2)"]}


def test_pairs_with_scores_and_pairs_with_labels(tmp_path):
    pair = {"text_a": "a", "text_b": "b"}
    scored = read_labeled(jsonl(tmp_path / "s.jsonl", pair | {"score": 5}, pair | {"score": "2.5", "label": "x"}))
    assert (scored.texts, scored.text_b, scored.scores, scored.labels) == (["a", "a"], ["b", "b"], [5.0, 2.5], [])
    classed = read_labeled(jsonl(tmp_path / "l.jsonl", pair | {"label": "yes"}, pair | {"label": "no"}))
    assert (classed.text_b, classed.scores, classed.labels) == (["b", "b"], None, ["yes", "no"])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0, 1], ["1", "0", "1"]),
        ([True, False], ["true", "false"]),
        ([1.0, 2.0], ["1", "2"]),
        ([" a", "b "], ["a", "b"]),
    ],
)
def test_labels_become_strings(tmp_path, labels, expected):
    assert read_labeled(jsonl(tmp_path / "a.jsonl", *rows(labels))).labels == expected


def test_parquet_labels_with_a_gap_stay_whole_numbers(tmp_path):
    table = pyarrow.table({"text": ["one", "two", "three"], "label": pyarrow.array([1.0, float("nan"), 2.0])})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    found = read_labeled(tmp_path / "a.parquet")
    assert found.labels == ["1", "2"] and found.report.as_dict() == {drops.MISSING_LABEL: 1}


def test_broken_records_are_counted_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "a.jsonl"
    records = [
        *rows(["a", None, "", "b"]),
        {"text": "x"},
        {"label": "a"},
        {"text": " ", "label": "a"},
        {"text": 1, "label": "a"},
    ]
    jsonl(path, *records)
    with path.open("ab") as file:
        file.write(b'{"text": "\xff", "label": "a"}\n{"text": "cut\n')
    found = read_labeled(path)
    assert (found.texts, found.labels) == (["text 0", "text 3"], ["a", "b"])
    assert found.report.as_dict() == {
        drops.EMPTY_TEXT: 1,
        drops.INVALID_JSON: 1,
        drops.INVALID_UTF8: 1,
        drops.MISSING_COLUMN: 1,
        drops.MISSING_LABEL: 3,
        drops.NOT_A_STRING: 1,
    }
    assert found.report.places[drops.MISSING_LABEL] == [f"{path}:2", f"{path}:3", f"{path}:5"]
    with pytest.raises(UserError, match=r"a\.jsonl:9: invalid UTF-8; without --strict"):
        read_labeled(path, strict=True)


def test_scores_that_are_none(tmp_path):
    pair = {"text_a": "a", "text_b": "b"}
    scores = [1.5, "high", None, float("nan"), float("inf"), True, 1e16, 1e300, 2]
    found = read_labeled(jsonl(tmp_path / "a.jsonl", *(pair | {"score": score} for score in scores)))
    assert found.scores == [1.5, 2.0]
    assert found.report.as_dict() == {drops.MISSING_SCORE: 2, drops.NOT_A_NUMBER: 5}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (
            [{"text": "a", "class": "x"}],
            r"a\.jsonl:1: there is no column label; there are text, class; a lab",
        ),
        ([{"body": "a", "label": "x"}], r"a\.jsonl:1: there is no column text; there are body, label"),
        ([{"text_a": "a", "text_b": "b"}], r"no column label; there are text_a, text_b; .* label or score"),
        ([{"text_a": "a", "score": 1}], "there is no column text;"),
        (rows(["a", "a"]), "all 2 records have the label 'a'; at least two"),
        ([{"text_a": "a", "text_b": "b", "score": 1}] * 3, "all 3 records have the score 1.0"),
        (rows(["a", "b", 3]), r"a\.jsonl:3: the label 3 is a number, but at .*a\.jsonl:1 it is a string"),
        (rows([1, True]), r"a\.jsonl:2: the label True is a truth value, but at .*:1 it is a number"),
        (rows(["a", ["b"]]), r"a\.jsonl:2: the label \['b'\] is a list"),
        (rows([1, 1.5]), r"a\.jsonl:2: the label 1.5 is a float; a label is a string or a whole number"),
        (rows([None, ""]), "holds no labelled record; dropped: missing label: 2, first .*a.jsonl:1"),
    ],
)
def test_a_set_that_cannot_be_used_stops_with_one_sentence(tmp_path, records, message):
    with pytest.raises(UserError, match=message) as caught:
        read_labeled(jsonl(tmp_path / "a.jsonl", *records))
    assert "\n" not in str(caught.value)


def test_a_header_without_the_column_names_the_columns(tmp_path):
    (tmp_path / "a.csv").write_text("text;label\none;a\n")
    with pytest.raises(UserError, match=r"a\.csv:2: there is no column text; there are text;label"):
        read_labeled(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("text,label\n")
    with pytest.raises(UserError, match="holds no labelled record"):
        read_labeled(tmp_path / "b.csv")


def test_wrong_files(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "set").mkdir()
    jsonl(tmp_path / "set" / "a.jsonl", *rows(["a", "b"]))
    with pytest.raises(UserError, match="which has no columns"):
        read_labeled(tmp_path / "a.txt")
    with pytest.raises(UserError, match="no file or folder"):
        read_labeled(tmp_path / "b.jsonl")
    assert read_labeled(tmp_path / "set").labels == ["a", "b"]  # a folder with one file
    jsonl(tmp_path / "set" / "b.jsonl", *rows(["a", "b"]))
    with pytest.raises(UserError, match=r"stands for 2 files \(a.jsonl, b.jsonl"):
        read_labeled(tmp_path / "set")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["a", "b", None, "", "text"]), min_size=1))
def test_kept_and_dropped_make_up_the_file(tmp_path_factory, kinds):
    path = tmp_path_factory.mktemp("labeled") / "a.jsonl"
    ends = [{"text": "first", "label": "a"}, {"text": "last", "label": "b"}]
    middle = [{"text": "", "label": "a"} if kind == "text" else {"text": "x", "label": kind} for kind in kinds]
    found = read_labeled(jsonl(path, ends[0], *middle, ends[1]))
    assert found.labels == ["a", *(kind for kind in kinds if kind in ("a", "b")), "b"]
    assert len(found) + found.report.total == len(kinds) + 2


def test_a_class_for_every_text_is_another_column(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", *rows([f"id {number}" for number in range(30)]))
    with pytest.raises(UserError, match=r"label has 30 different values in 30 records, such as 'id 0'.*right column"):
        read_labeled(path)
    assert len(read_labeled(path, varied=False).label_names) == 30, "a test set may hold one text of each class"
    assert len(read_labeled(jsonl(tmp_path / "b.jsonl", *rows(list("abcdefghij")))).label_names) == 10


def test_more_classes_than_a_classifier_takes(tmp_path, monkeypatch):
    path = jsonl(tmp_path / "a.jsonl", *rows([*range(20_004)]))
    for varied in (True, False):
        with pytest.raises(UserError, match=r"has 20,004 different values in 20,004 records.*at most 10,000; is it"):
            read_labeled(path, varied=varied)
    monkeypatch.setattr("textssl.data.labelled.labelled_set.MOST_CLASSES", 3)
    with pytest.raises(UserError, match=r"has 4 different values in 40 records.*at most 3; .*in a column score"):
        read_labeled(jsonl(tmp_path / "b.jsonl", *rows([*range(4)] * 10)))


def test_the_column_that_is_asked_for(tmp_path):
    texts = jsonl(tmp_path / "t.jsonl", *({"text": str(n), "label": "ab"[n % 2], "score": n / 2} for n in range(4)))
    found = read_labeled(texts)
    assert (found.kind, found.labels, found.scores) == ("texts with labels", ["a", "b", "a", "b"], None)
    found = read_labeled(texts, target="score")
    assert (found.kind, found.labels, found.scores) == ("texts with scores", [], [0.0, 0.5, 1.0, 1.5])
    pairs = jsonl(tmp_path / "p.jsonl", *({"text_a": "x", "text_b": "y", "label": n, "score": n} for n in range(2)))
    assert read_labeled(pairs).kind == "pairs of texts with scores"
    assert read_labeled(pairs, target="label").labels == ["0", "1"]
    alone = jsonl(tmp_path / "s.jsonl", {"text": "x", "score": 1}, {"text": "y", "score": 2.5})
    assert read_labeled(alone).scores == [1.0, 2.5]
    with pytest.raises(UserError, match="there is no column label; there are text, score"):
        read_labeled(alone, target="label")
    with pytest.raises(UserError, match="there is no column score; there are text, label"):
        read_labeled(jsonl(tmp_path / "l.jsonl", *rows(["a", "b"])), target="score")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_scores_of_400_digits_are_counted_as_none(tmp_path, suffix):
    scores = ["1" * 400, f"-{'1' * 400}", "1_000", "0.5", "0.25"]
    path = tmp_path / f"a.{suffix}"
    if suffix == "jsonl":
        lines = [f'{{"text": "t{place}", "score": {score}}}\n' for place, score in enumerate(scores)]
        path.write_text("".join(lines).replace("1_000", '"1_000"'))
    elif suffix == "csv":
        path.write_text("text,score\n" + "".join(f"t{place},{score}\n" for place, score in enumerate(scores)))
    else:
        columns = {"text": [f"t{place}" for place in range(5)], "score": scores}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    found = read_labeled(path)
    assert found.scores == [0.5, 0.25] and found.report.as_dict() == {drops.NOT_A_NUMBER: 3}
    assert len(found.report.summary()) < 400


def test_a_long_label_is_quoted_in_part(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": f"t{n}", "label": "x" * 10_000}) + "\n" for n in range(3)))
    with pytest.raises(UserError, match=r"have the label 'x{76}\.\.\.; at least two") as caught:
        read_labeled(path)
    assert len(str(caught.value)) < 400
