"""Gaps are filled one after another, where they stand, with what the decoder finds likeliest."""

from __future__ import annotations

import json

import pytest
import torch

from tests.models.seq2seq.small import small_seq2seq
from tests.models.small import VOCABULARY, word_tokenizer
from textssl.errors import UserError
from textssl.inference.language.gap_filling import GapFiller

GREEDY = {"do_sample": False}
PAD, CLS, SEP, MASK = 0, 2, 3, 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """By family: exported folders with random weights."""
    made = {}
    for family in ("t5", "bart"):
        made[family] = tmp_path_factory.mktemp(family) / "model"
        small_seq2seq(family).export(made[family], word_tokenizer())
    return made


def filler(folder, *noises):
    config = json.loads((folder / "config.json").read_text())
    config["textssl"] = {"objective": "infilling", "noises": list(noises)}
    (folder / "config.json").write_text(json.dumps(config))
    return GapFiller(folder)


def test_a_gap_is_answered_behind_its_sentinel_and_filled_in_its_place(folders, monkeypatch):
    found, asked = filler(folders["t5"], "spans"), []

    def write(source, before, ends, max_new_tokens, options):
        asked.append((source, list(before)))
        return [[20, 21], [22]][len(asked) - 1]

    monkeypatch.setattr(found, "write", write)
    first, second = VOCABULARY, VOCABULARY + 1
    assert found.fill("w7 [MASK] w8 <extra_id_9> w9", 5, GREEDY) == "w7 w20 w21 w8 w22 w9"
    source = [CLS, 7, first, 8, second, 9, SEP]
    assert asked == [(source, [first]), (source, [first, 20, 21, second])]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_the_likeliest_tokens_are_written_until_the_gap_ends(folders, family):
    found = filler(folders[family], "spans")
    sentinels = list(range(VOCABULARY, VOCABULARY + 100))
    source, written = [CLS, 7, VOCABULARY, 8, SEP], [found.begin, VOCABULARY]
    ends, never = {SEP, *sentinels}, [PAD, 1, CLS, MASK]
    for place in range(6):
        with torch.no_grad():
            logits = found.model(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([written])).logits[
                0, -1
            ]
        logits[never] = -torch.inf
        if place == 0:
            logits[list(ends)] = -torch.inf
        written.append(int(logits.argmax()))
        if written[-1] in ends:
            written.pop()
            break
    expected = " ".join(["w7", *(f"w{number}" for number in written[2:]), "w8"])
    assert found.fill("w7 [MASK] w8", 6, GREEDY) == expected


def test_a_text_without_a_gap_goes_on_at_its_end(folders, monkeypatch):
    found = filler(folders["bart"], "spans")
    monkeypatch.setattr(found, "write", lambda *arguments: [30])
    assert found.fill("w7 w8", 5, GREEDY) == "w7 w8 w30"


@pytest.mark.parametrize(
    "noise, source",
    [("infilling", [CLS, 7, MASK, 8, SEP]), ("deletion", [CLS, 7, 8, SEP])],
)
def test_other_noises_write_the_text_anew(folders, monkeypatch, noise, source):
    found, asked = filler(folders["bart"], noise), []

    def write(*arguments):
        asked.append(arguments[:2])
        return [7, 31, 8]

    monkeypatch.setattr(found, "write", write)
    assert found.fill("w7 [MASK] w8", 5, GREEDY) == "w7 w31 w8"
    assert asked == [(source, [])]


def test_what_is_too_long(folders):
    found = filler(folders["bart"], "spans")
    with pytest.raises(UserError, match="52 tokens, but the model reads 40"):
        found.fill("w7 " * 50, 5, GREEDY)
    with pytest.raises(UserError, match="101 gaps, at most 100"):
        filler(folders["t5"], "spans").fill_spans([MASK] * 101, 5, GREEDY)
    assert len(found.fill("w7", 500, GREEDY).split()) < 41, "no more than there are positions"
