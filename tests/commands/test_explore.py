"""textssl explore: what it finds, what it writes, the page in a browser, and what it refuses."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import textssl
from tests.browser import opened, selftest
from tests.evaluation.folders import save_model
from tests.tiny import texts
from textssl.commands.explore import answered, map_of
from textssl.errors import UserError

DOCUMENTS = [" ".join(text[:200].split()) for text in texts()[:40]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"), "bert")


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    rows = [*DOCUMENTS, DOCUMENTS[0], '</script> & "quotes"']
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return file


@pytest.fixture(scope="module")
def found(model, lines, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "explored"
    asked: dict[str, Any] = {
        "query": [DOCUMENTS[3]],
        "between": [DOCUMENTS[1], DOCUMENTS[2]],
        "analogy": ["that is the"],
    }
    return textssl.explore(model, lines, out, scores=False, num_clusters=3, **asked), out


@pytest.mark.slow
def test_scores_of_analogies_and_factors_are_in_the_files_and_tables(model, lines, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("textssl.commands.explore.SENTENCES", 80)
    words = ["king", "queen", "man", "woman", "river", "stone", "house", "garden"]
    quartets = [dict(zip("abcd", np.roll(words, turn)[:4].tolist(), strict=True), section="own") for turn in range(8)]
    monkeypatch.setattr("textssl.commands.explore.sample_analogies", lambda: quartets)
    textssl.explore(model, lines, tmp_path / "out", num_clusters=3)
    found = json.loads((tmp_path / "out" / "explore.json").read_text())
    said = capsys.readouterr().out
    analogies, factors = found["analogies"], found["factors"]
    assert analogies["questions"] == analogies["words"] == 8 and analogies["sections"].keys() == {"own"}
    assert "English word analogies" in said and "of an English grammar" in " ".join(said.split())
    assert re.search(rf"without the words of the question │ {analogies['without_query_words']:.3f}", said)
    assert said.count("│   own ") == 1
    assert factors["sentences"] == 80 and factors["rotated"].keys() <= factors.keys()
    for name in ("disentanglement", "completeness", "informativeness"):
        assert re.search(rf"{name} +│ +{factors[name]:.3f} │ +{factors['rotated'][name]:.3f}", said)
    for name, share in factors["accuracies"].items():
        assert 0 <= share <= 1 and re.search(rf"{name} found in +│ +{share:.3f}", said)


def test_other_spellings_of_the_words_asked_take_no_place():
    """All words are near each other here, and those that are asked nearest of all."""
    asked = ["king", "King", "KING", "man", "Man", "MAN", "woman"]

    def embed(texts: list[str], **_: Any) -> np.ndarray:
        own = np.array([[1.0, 0.1 * (text.lower() not in ("king", "man", "woman"))] for text in texts])
        return own / np.linalg.norm(own, axis=1, keepdims=True)

    texts = [f"{' '.join(asked)} queen throne crown court river mountain"] * 2
    (found,) = answered(SimpleNamespace(embed=embed), texts, [("king", "man", "woman")])  # type: ignore[arg-type]
    nearest = {one["text"] for one in found["nearest"]}
    assert len(nearest) == 5 and nearest <= {"queen", "throne", "crown", "court", "river", "mountain"}


def test_texts_that_are_nearly_the_same_have_places_of_their_own_on_the_map():
    near = np.random.default_rng(0).normal(size=(40, 8)) * 1e-3 + np.eye(8)[0]
    places = map_of(near / np.linalg.norm(near, axis=1, keepdims=True))
    assert len({tuple(place) for place in places}) == 40


def test_neighbours_ways_groups_and_the_map(found, capsys):
    result, out = found
    assert len(result["texts"]) == len(result["map"]) == len(result["near"]) == 41, "the repeated text counts once"
    (asked,) = result["neighbours"]
    cosines = [one["cosine"] for one in asked["nearest"]]
    assert len(cosines) == 5 and cosines == sorted(cosines, reverse=True)
    assert asked["query"] not in [one["text"] for one in asked["nearest"]]
    way = result["between"]
    assert (way[0]["text"], way[-1]["text"]) == (DOCUMENTS[1], DOCUMENTS[2]) and len(way) == 7
    assert way[0]["cosine"] == pytest.approx(1, abs=1e-5)
    members = [place for one in result["clusters"] for place in one["members"]]
    assert sorted(members) == list(range(41)) and len(result["clusters"]) == 3
    assert result["analogy"][0]["question"] == "that - is + the"
    assert not {"that", "is", "the"} & {one["text"].lower() for one in result["analogy"][0]["nearest"]}
    assert json.loads((out / "explore.json").read_text()) == json.loads(json.dumps(result))


def test_the_page_holds_its_data_and_no_address(found):
    page = (found[1] / "explore.html").read_text(encoding="utf-8")
    assert "/*DATA*/" not in page and page.count("</script>") == 1 and "\\u003c/script>" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count('{dir: "auto"}') == 3 and 'make("bdi"' in page  # Arabic too


@pytest.mark.slow
def test_the_page_in_a_browser(found, tmp_path):
    dom, console = opened(found[1] / "explore.html", tmp_path / "profile")
    result = selftest(dom)
    assert not console
    assert result["errors"] == [] and result["dots"] == 41 and result["near"] == 6 and result["named"] == 2
    assert re.fullmatch(r"[1-9]\d* of 41 texts", result["count"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"between": ["one"]}, "--between needs two texts, and got 1"),
        ({"analogy": ["king man"]}, "--analogy is 'king man': give three words"),
        ({"num_clusters": 1}, "--num-clusters is 1, it must be from 2"),
    ],
)
def test_what_it_refuses(model, lines, tmp_path, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        textssl.explore(model, lines, tmp_path / "out", scores=False, **options)
    assert not (tmp_path / "out").exists()
