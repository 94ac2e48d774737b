"""Long words are cut at the limit and counted; all other text stays as it is."""

import json

import pytest

from textssl.commands.tokenizer import train_tokenizer
from textssl.tokenizer import LONGEST_WORD, LongWords, long_words

ALGORITHMS = sorted(LONGEST_WORD)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_words_are_cut_at_the_limit(algorithm):
    limit, counts = LONGEST_WORD[algorithm], LongWords()
    text = f"start {'x' * limit} {'y' * (2 * limit + 3)}\nend {'z' * (limit + 1)}"
    (found,) = counts.cut([text], algorithm)
    assert max(map(len, found.split())) == limit
    assert "".join(found.split()) == "".join(text.split())
    assert found.split("\n")[0] == f"start {'x' * limit} {'y' * limit}"
    assert (counts.words, counts.characters, counts.left_out) == (2, 3 * limit + 4, 0)
    assert list(LongWords().cut(["z" * (limit + 1)], algorithm)) == [f"{'z' * limit}\nz"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_ordinary_text_is_left_alone(algorithm):
    counts, text = LongWords(), "A line: https://example.org/a_b?c=1, and naïve 你好。\n\n- more... " * 20
    assert list(counts.cut([text, ""], algorithm)) == [text, ""] and counts == LongWords()


def test_what_is_a_word_depends_on_the_algorithm():
    url = "a/" * 100  # for bpe and wordpiece 200 words
    assert [len(next(LongWords().cut([url], name))) for name in ALGORITHMS] == [200, 200, 200]
    assert [len(next(LongWords().cut([url * 2], name))) for name in ALGORITHMS] == [400, 401, 400]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_long_words_together_are_limited(algorithm, monkeypatch):
    monkeypatch.setitem(long_words.LONG_WORDS_CHARACTERS, algorithm, 1000)
    counts = LongWords()
    found = list(counts.cut(["x" * 700, "y" * 700 + " word", "z" * 300], algorithm))
    assert sum(len(text.replace("\n", "")) for text in found) == 1000 + len(" word") and found[2] == ""
    assert counts == LongWords(words=3, characters=1700, left_out=700)
    assert "3 words" in counts.note(algorithm) and "700 of these characters were left out" in counts.note(algorithm)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_on_one_letter_a_million_times_takes_a_moment_and_is_reported(algorithm, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("The cat sat on the mat. " * 300 + "\n\n" + "A" * 1_000_000)
    train_tokenizer(tmp_path / "text.txt", tmp_path / "out", algorithm=algorithm, vocab_size=500)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    limits = LONGEST_WORD[algorithm], long_words.LONG_WORDS_CHARACTERS[algorithm]
    left_out = max(0, 1_000_000 - limits[1])
    cut = {"longer_than": limits[0], "words": 1, "characters": 1_000_000, "left_out": left_out}
    assert report["long_words"] == cut
    printed = " ".join(capsys.readouterr().out.split())
    assert f"1 words longer than {limits[0]} characters (1,000,000 together) were cut there for training" in printed
