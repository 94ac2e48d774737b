"""The number of different words is bounded: the first ones stay, the rest is counted; short of it nothing changes."""

import json
import random

import pytest

from tests.tiny import texts
from textssl import tokenizer as tokenizers
from textssl.commands.tokenizer import train_tokenizer
from textssl.errors import UserError
from textssl.tokenizer import ALGORITHMS, WordTypes, word_types
from textssl.tokenizer.fitting import build_trainer
from textssl.tokenizer.train import build_normalizer, untrained


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_text_of_fewer_words_is_left_alone(algorithm):
    known = WordTypes(10**6)
    assert list(known.bound(texts(), algorithm)) == texts() and known.left_out == 0
    words = {word for text in texts() for word in word_types.WORD[algorithm].findall(text)}
    assert known.known == words
    exactly = WordTypes(len(words))
    assert list(exactly.bound(texts(), algorithm)) == texts() and exactly.left_out == 0


def test_words_beyond_the_limit_are_left_out_with_their_space():
    known = WordTypes(5)
    given = ["the cat, the dog", "the bird, a cat (bird)", "the dog sat", "cat\nbird"]
    assert list(known.bound(given, "bpe")) == [given[0], "the\n, cat (\n\n", "the dog", "cat\n\n"]
    assert known.known == {"the", "cat", ",", "dog", "("} and known.left_out == 6
    assert "6 times a word was left out" in known.note() and "--max-word-types" in known.note()


def test_every_chinese_character_is_a_word_of_wordpiece():
    known = WordTypes(4)
    assert list(known.bound(["我爱你", "你爱我 ok", "再ok"], "wordpiece")) == ["我爱你", "你爱我 ok", "\nok"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_stays_does_not_depend_on_the_memory_of_pieces_or_the_order_of_sets(algorithm, monkeypatch):
    whole = list(WordTypes(900).bound(texts(), algorithm))
    assert whole != texts()
    kept = {word for text in whole for word in word_types.WORD[algorithm].findall(text)}
    assert len(kept) <= 900
    monkeypatch.setattr(word_types, "KNOWN_PIECES", 10)
    assert list(WordTypes(900).bound(texts(), algorithm)) == whole


ODD = ["ﬁn e\u0301 Å. 한국 ½ ①", "e\u0323\u0301 q\u0307\u0323 " * 9, "é É ü ﬁn \u1100\u1161 " * 9]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD", None])
def test_the_tokenizer_is_the_one_that_the_library_trains_on_the_text_itself(form):
    given = [*ODD, *(text for text in texts()[:40] if len(max(text.split(), key=len)) <= 64)]
    library = untrained("bpe")
    normalizer = build_normalizer("bpe", form, False, False)
    if normalizer is not None:
        library.normalizer = normalizer
    library.train_from_iterator(given, build_trainer("bpe", 600, 2))
    ours = tokenizers.train_tokenizer(given, vocab_size=600, normalization=form).backend_tokenizer
    state, expected = json.loads(ours.to_str()), json.loads(library.to_str())
    assert {key: state[key] for key in expected if key != "post_processor"} == {
        key: expected[key] for key in expected if key != "post_processor"
    }


def test_the_command_says_when_the_limit_bites(tmp_path, capsys):
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=8)) for _ in range(2000)]
    lines = [" ".join(["the cat sat", *rng.choices(words, k=9)]) for _ in range(500)]
    (tmp_path / "text.txt").write_text("\n\n".join(lines))
    train_tokenizer(tmp_path / "text.txt", tmp_path / "out", vocab_size=300, max_word_types=500)
    found = json.loads((tmp_path / "out" / "report.json").read_text())["word_types"]
    assert found["limit"] == found["known"] == 500 and found["left_out"] > 1000
    assert f"{found['left_out']:,} times a word was left out of training" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match="--max-word-types is 0, it must be at least 1"):
        train_tokenizer(tmp_path / "text.txt", tmp_path / "other", max_word_types=0)
