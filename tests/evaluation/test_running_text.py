from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tiny import make_corpus, texts, tiny_tokenizer
from textssl import tokenizer
from textssl.data.text.documents import DropReport
from textssl.errors import UserError
from textssl.evaluation.running_text import SHORTEST_CUT, beginning, drawn_bytes, first_bytes, pieces, running_texts
from textssl.evaluation.split import text_hash


def test_held_out_split_of_a_prepared_corpus_is_decoded(tmp_path):
    make_corpus(tmp_path)
    found = list(running_texts(tmp_path / "corpus", tiny_tokenizer()))
    assert [text.split() for text in found] == [text.split() for text in texts()[-10:]]
    other = tokenizer.train_tokenizer(iter(texts()[:5]), algorithm="bpe", vocab_size=300)
    with pytest.raises(UserError, match="another tokenizer"):
        list(running_texts(tmp_path / "corpus", other))


def test_first_bytes_keeps_whole_texts():
    assert first_bytes(iter(["ab", "cd", "ef"]), 5) == ["ab", "cd"]
    assert first_bytes(iter(["abcdéf", "x"]), 5) == ["abcd"]


def test_records_that_cannot_be_used_are_counted(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "one"}\n{"text": ""}\n')
    report = DropReport()
    assert list(running_texts(tmp_path / "t.jsonl", tiny_tokenizer(), report)) == ["one"]
    assert report.as_dict() == {"empty text": 1}


@pytest.mark.slow
@given(st.lists(st.text(max_size=100), max_size=40), st.integers(1, 900), st.randoms())
def test_drawn_bytes_are_a_prefix_of_the_order_of_hashes_whatever_the_order_of_the_source(given, limit, random):
    found = drawn_bytes(given, limit, 4)
    cut = {beginning(text, max(limit // 4, SHORTEST_CUT)) for text in given} - {""}
    assert found == first_bytes(sorted(cut, key=text_hash), limit)
    random.shuffle(given)
    assert drawn_bytes(given, limit, 4) == found


@given(st.lists(st.text(st.sampled_from("ab é\n"), max_size=40), max_size=4), st.integers(4, 20))
def test_pieces_hold_every_letter(given, size):
    found = list(pieces(given, size))
    assert all(0 < len(piece.encode()) <= size for piece in found)
    assert "".join("".join(found).split()) == "".join("".join(given).split())


def test_a_text_is_cut_between_words():
    assert beginning("one two three", 9) == "one two"
    assert beginning("one two three", 7) == "one two"
    assert beginning("one two", 7) == "one two"
    assert beginning("éé", 3) == "é"
    assert beginning("onetwo", 3) == "one"
