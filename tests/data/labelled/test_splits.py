"""Parts of a labelled set: shares, leaks, few labels, and what stops."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.labelled import write
from textssl.data.labelled.labelled_set import Labeled, text_hash
from textssl.data.labelled.splits import (
    CONFLICTING,
    DUPLICATE,
    IN_TEST,
    IN_VALIDATION,
    SCORE_BINS,
    few_labels,
    read_splits,
    split_off,
    strata,
)
from textssl.errors import UserError
from textssl.sections import DataConfig


def classed(counts: dict[str, int], start: int = 0) -> list[dict[str, Any]]:
    """So many texts of each class, their texts numbered from `start` on."""
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [{"text": f"text {start + place}", "label": label} for place, label in enumerate(labels)]


def scored(scores: list[float]) -> list[dict[str, Any]]:
    return [{"text": f"text {place}", "score": score} for place, score in enumerate(scores)]


def read(tmp_path: Path, records: list[dict[str, Any]], seed: int = 0, **options: Any) -> Any:
    """The parts of these records; `validation` and `test` may be records as well."""
    for name in ("validation", "test"):
        if name in options:
            options[name] = str(write(tmp_path / f"{name}.jsonl", options[name]))
    return read_splits(DataConfig(train=str(write(tmp_path / "train.jsonl", records)), **options), seed)


def texts_of(splits) -> dict[str, set[str]]:
    return {name: set(part.texts) for name, part in splits.parts.items()}


def test_every_class_gives_its_share(tmp_path):
    splits = read(tmp_path, classed({"a": 100, "b": 50, "c": 3}))
    assert Counter(splits.test.labels) == {"a": 20, "b": 10, "c": 1}
    assert Counter(splits.validation.labels) == {"a": 8, "b": 4}
    assert Counter(splits.train.labels) == {"a": 72, "b": 36, "c": 2}
    assert splits.facts.classes == ("a", "b", "c") and splits.facts.counts == (72, 36, 2)
    assert splits.given == () and splits.report.total == 0


def test_every_tenth_of_the_scores_gives_its_share(tmp_path):
    scores = np.random.default_rng(0).permutation(200).astype(float)
    splits = read(tmp_path, scored(scores.tolist()))
    tenth = Counter(int(score // 20) for score in splits.test.scores)
    assert tenth == dict.fromkeys(range(SCORE_BINS), 4)
    assert len(splits.validation) == 20 and len(splits.train) == 140
    assert splits.facts.classes == () and splits.facts.mean == pytest.approx(np.mean(splits.train.scores))
    assert splits.facts.deviation == pytest.approx(np.std(splits.train.scores))


@pytest.mark.parametrize("kind", ["classes", "scores", "scores with ties"])
def test_the_parts_depend_neither_on_the_order_of_the_file_nor_on_the_seed(kind, tmp_path):
    records = {
        "classes": classed({"a": 60, "b": 40}),
        "scores": scored(np.linspace(0, 5, 120).tolist()),
        "scores with ties": scored([float(place % 3) for place in range(120)]),
    }[kind]
    first = texts_of(read(tmp_path, records))
    rng = np.random.default_rng(0)
    for seed in (1, 2, 3):
        mixed = [records[place] for place in rng.permutation(len(records))]
        assert texts_of(read(tmp_path, mixed, seed)) == first


def test_given_parts_never_train_and_are_never_in_each_other(tmp_path):
    records = classed({"a": 30, "b": 30})
    splits = read(tmp_path, records, test=records[:5] + records[30:35], validation=records[3:10] + records[40:45])
    parts = texts_of(splits)
    assert not parts["train"] & parts["test"] and not parts["train"] & parts["validation"]
    assert not parts["validation"] & parts["test"] and splits.given == ("validation", "test")
    assert [len(part) for part in splits.parts.values()] == [40, 10, 10]
    assert splits.report.as_dict() == {IN_TEST: 10 + 2, IN_VALIDATION: 10}
    assert f"{tmp_path / 'train.jsonl'} (text 0)" in splits.report.places[IN_TEST]


def test_a_given_validation_part_is_not_in_a_test_part_that_is_split_off(tmp_path):
    records = classed({"a": 50, "b": 50})
    splits = read(tmp_path, records, validation=records[::2])
    parts = texts_of(splits)
    assert not parts["validation"] & parts["test"] and not parts["validation"] & parts["train"]
    assert splits.report.as_dict() == {IN_VALIDATION: 50} and len(splits.test) == 10


def test_repeated_texts_count_once_and_the_first_label_holds(tmp_path):
    records = classed({"a": 30, "b": 30})
    records += [records[0], records[0] | {"label": "b"}, records[40] | {"label": "a"}]
    splits = read(tmp_path, records)
    assert splits.report.as_dict() == {DUPLICATE: 1, CONFLICTING: 2}
    labels = {
        text: label for part in splits.parts.values() for text, label in zip(part.texts, part.labels, strict=True)
    }
    assert len(labels) == 60 and labels["text 0"] == "a" and labels["text 40"] == "b"
    pairs = [
        {"text_a": f"one {place % 70}", "text_b": "two" + str(place % 70), "score": place % 70 % 7}
        for place in range(140)
    ]
    pairs[100]["score"] = 9
    assert read(tmp_path, pairs).report.as_dict() == {DUPLICATE: 69, CONFLICTING: 1}


def test_white_space_hides_no_test_text_from_the_training_part(tmp_path):
    """As where one file is a CSV and the other has the newline that each text ended with."""
    records = classed({"a": 30, "b": 30})
    test = [one | {"text": f" {one['text']}\n".replace("text ", "text\t")} for one in records[:5] + records[30:35]]
    splits = read(tmp_path, [*records, records[9] | {"text": "text  9"}], test=test)
    assert splits.report.as_dict() == {DUPLICATE: 1, IN_TEST: 10}
    pairs = [{"text_a": f"one {n}", "text_b": "two", "label": "ab"[n % 2]} for n in range(40)]
    spaced = [one | {"text_b": "two\n"} for one in pairs[:6]]
    assert read(tmp_path, pairs, test=spaced, validation_share=0).report.as_dict() == {IN_TEST: 6}


def pairs_of(premises: int, each: int = 3) -> list[dict[str, Any]]:
    """Pairs as of a set of inferences: each first text has a second one of every label."""
    labels = ("yes", "no", "maybe")
    return [
        {"text_a": f"premise {n}", "text_b": f"hypothesis {n} {k}", "label": labels[k % 3]}
        for n in range(premises)
        for k in range(each)
    ]


def pair_texts(part: Labeled) -> set[str]:
    assert part.text_b is not None
    return {*part.texts, *part.text_b}


def test_pairs_that_share_a_text_are_in_one_part(tmp_path):
    records = pairs_of(200)
    records += [{"text_a": f"hypothesis {n} 0", "text_b": f"premise {n + 1}", "label": "no"} for n in range(0, 40, 2)]
    splits = read(tmp_path, records)
    parts = {name: pair_texts(part) for name, part in splits.parts.items()}
    assert not parts["train"] & parts["test"] and not parts["train"] & parts["validation"]
    assert not parts["validation"] & parts["test"]
    assert abs(len(splits.test) - 0.2 * 620) < 6 and abs(len(splits.validation) - 0.08 * 620) < 6
    for part in splits.parts.values():
        counts = Counter(part.labels)
        assert max(counts.values()) - min(counts.values()) < 0.2 * len(part)
    mixed = read(tmp_path, [records[place] for place in np.random.default_rng(0).permutation(len(records))], seed=5)
    assert {name: pair_texts(part) for name, part in mixed.parts.items()} == parts


def test_pairs_that_share_nothing_are_split_as_single_texts_are():
    labels = [str(place % 3) for place in range(100)]
    pairs = Labeled("set", [f"a {p}" for p in range(100)], labels, [f"b {p}" for p in range(100)])
    singles = Labeled("set", [pairs.key(place) for place in range(100)], labels)
    for share in (0.1, 0.2, 0.5):
        for of_pairs, of_singles in zip(split_off(pairs, share), split_off(singles, share), strict=True):
            assert [of_pairs.key(place) for place in range(len(of_pairs))] == of_singles.texts


def test_pairs_that_all_hang_together_stop(tmp_path):
    records = [{"text_a": "one", "text_b": f"b {place}", "label": str(place % 2)} for place in range(50)]
    with pytest.raises(UserError, match=r"share a text stay together and 40 of the 40 pairs do.*give data\.validation"):
        read(tmp_path, records, test=[record | {"text_a": "other"} for record in records[:4]] + records[:10])
    assert read(tmp_path, records, validation_share=0, test=records[:10]).validation is None


def test_equal_texts_with_two_labels_are_named_where_too_few_are_left(tmp_path):
    records = [{"text": f"text {place // 20}", "label": "ab"[(place + place // 20) % 2]} for place in range(40)]
    message = "no class has two of the 2 different ones.*dropped: text with two labels: 20, first .*train\\.jsonl \\("
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, records)
    assert "larger" not in str(error.value), "which would not help"


def test_without_a_validation_share_all_that_is_not_tested_trains(tmp_path):
    records = classed({"a": 40, "b": 40})
    usual, whole = read(tmp_path, records), read(tmp_path, records, validation_share=0)
    assert whole.validation is None and texts_of(whole)["test"] == texts_of(usual)["test"]
    assert texts_of(whole)["train"] == texts_of(usual)["train"] | texts_of(usual)["validation"]


def test_few_labels_are_drawn_by_the_seed_and_the_test_part_stays(tmp_path):
    records = classed({"a": 40, "b": 40, "c": 4})
    draws = [read(tmp_path, records, seed, shots=8) for seed in range(4)]
    for splits in draws:
        assert Counter(splits.train.labels) == {"a": 8, "b": 8, "c": 3} and splits.validation is None
        assert set(splits.test.texts) == set(draws[0].test.texts)
        assert not set(splits.train.texts) & set(splits.test.texts)
    assert len({frozenset(splits.train.texts) for splits in draws}) == 4
    assert draws[1].train.texts == read(tmp_path, records, 1, shots=8).train.texts
    assert len({splits.fingerprint for splits in draws}) == 4


@pytest.mark.parametrize(("count", "sizes"), [(10, (7, 1, 2)), (30, (22, 2, 6)), (1_000, (720, 80, 200))])
def test_few_scores_are_split_by_the_shares(count, sizes, tmp_path):
    splits = read(tmp_path, scored([float(place) for place in range(count)]))
    assert tuple(map(len, splits.parts.values())) == sizes
    scores = splits.test.scores
    assert count < 30 or (min(scores) < count / 4 and max(scores) > count * 3 / 4)  # of every part of the range


def test_every_text_is_drawn_equally_often():
    labeled = Labeled("set", [str(place) for place in range(20)], ["a"] * 10 + ["b"] * 10)
    drawn = Counter(text for seed in range(1_000) for text in few_labels(labeled, 2, seed).texts)
    assert len(drawn) == 20 and all(abs(count - 200) < 5 * 200**0.5 for count in drawn.values())


def test_the_fingerprint_follows_texts_labels_and_parts(tmp_path):
    records = classed({"a": 30, "b": 30})
    first = read(tmp_path, records).fingerprint
    assert read(tmp_path, records, seed=9).fingerprint == first
    assert read(tmp_path, [*records[:-1], records[-1] | {"label": "a"}]).fingerprint != first
    assert read(tmp_path, [*records[:-1], records[-1] | {"text": "other"}]).fingerprint != first
    assert read(tmp_path, records, test_share=0.3).fingerprint != first


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        (
            classed({"a": 2, "b": 2}),
            {"validation": classed({"a": 1, "b": 1}, start=99)},
            "too few texts to split off a test part",
        ),
        (classed({"a": 3, "b": 3}), {}, "too few texts to split off a validation part"),
        (scored([1.0, 2.0, 3.0]), {}, "too few texts to split off a validation part"),
        (classed({"a": 9, "b": 9}), {"test": classed({"a": 9, "b": 9})}, "no text is left to train on"),
        (
            classed({"a": 20, "b": 1}),
            {"test": classed({"b": 1, "a": 1}, start=20)[:1]},
            "all texts left to train on have the label 'a'",
        ),
        (
            classed({"a": 20, "b": 20}),
            {"test": classed({"a": 1, "x": 1, "y": 1}, start=99)},
            r"data\.test=.*test\.jsonl: 2 of 3 texts have the label 'x' \(and 1 more\), which no training text has",
        ),
        (
            classed({"a": 20, "b": 20}),
            {"validation": [{"text_a": "one", "text_b": "two", "label": "a"}]},
            r"data\.validation=.*validation\.jsonl holds pairs of texts with labels, but data\.train holds texts with",
        ),
        (classed({"a": 20, "b": 20}), {"test": scored([1.0, 2.0])}, "holds texts with scores, but data.train holds"),
        (scored([float(place) for place in range(99)]), {"shots": 4}, "data.shots counts texts of each class"),
    ],
)
def test_a_set_that_cannot_be_split_stops_with_one_sentence(records, options, message, tmp_path):
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, records, **options)
    assert "\n" not in str(caught.value)


def test_without_a_training_file():
    with pytest.raises(UserError, match=r"data\.train is missing: name a labelled file"):
        read_splits(DataConfig(test="test.csv"), 0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
    st.booleans(),
    st.floats(0.01, 0.99),
)
def test_parts_are_disjoint_and_cover_everything(numbers, scores, share):
    texts = [str(place) for place in range(len(numbers))]
    labels = [] if scores else [str(number) for number in numbers]
    labeled = Labeled("set", texts, labels, None, [float(number) for number in numbers] if scores else None)
    rest, part = split_off(labeled, share)
    assert sorted(rest.texts + part.texts) == sorted(texts)
    told = dict(zip(texts, labeled.scores or labels, strict=True))
    for found in (rest, part):
        assert [told[text] for text in found.texts] == (found.scores if scores else found.labels)
    taken = set(part.texts)
    for places in strata(labeled, [text_hash(labeled.key(place)) for place in range(len(labeled))], share):
        count = sum(texts[place] in taken for place in places)
        wanted = min(share * len(places), len(places) - 1)
        assert count < len(places) and abs(count - wanted) <= 0.5 + 1e-9
