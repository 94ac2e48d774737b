"""Passages of a corpus are whole words of its documents."""

import re
from itertools import pairwise

from tests.tiny import tiny_tokenizer
from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.encoding import DocumentEncoder
from textssl.data.corpus.positive_pairs import PASSAGE_TOKENS, corpus_pairs
from textssl.data.corpus.writer import CorpusWriter
from textssl.data.text.drops import DropReport
from textssl.sample_types import LONGEST_WORD
from textssl.tokenizer import tokenizer_hash

WORDS = "extraordinary lighthouses, harbour-masters' boats and incomprehensibilities "
ENGLISH = [f"{'very ' * n}{WORDS * 12}" for n in range(9)]
WORD_END = r"(?:(?<!\w)|(?!\w))"
CHINESE = ["我们今天去看了一场非常有意思的电影然后在河边散步" * n for n in range(2, 9)]


def passages(folder, documents):
    backend = tiny_tokenizer().backend_tokenizer
    options = {"tokenizer_hash": tokenizer_hash(backend), "vocab_size": backend.get_vocab_size(), "split": "train"}
    writer = CorpusWriter(folder, **options)
    for text in documents:
        encoded = DocumentEncoder(backend).encode([text])
        writer.add(encoded.ids, encoded.marks, len(text.encode()))
    writer.close()
    return corpus_pairs(Corpus.open(folder), backend, "passages", size=100, seed=0, report=DropReport())[0]


def test_passages_end_between_words(tmp_path):
    pairs = passages(tmp_path, ENGLISH)
    assert len(pairs) == len(ENGLISH)
    backend = tiny_tokenizer().backend_tokenizer
    for pair in pairs:
        document = ENGLISH[pair.document]
        both = re.match(rf"({re.escape(pair.text_a)}){WORD_END}\s*({re.escape(pair.text_b)}){WORD_END}", document)
        assert both
        ends = [end for _, end in backend.encode(document, add_special_tokens=False).offsets]  # alone, texts begin anew
        sizes = [sum(start < end <= stop for end in ends) for start, stop in pairwise((0, both.end(1), both.end(2)))]
        assert all(PASSAGE_TOKENS - LONGEST_WORD < size <= PASSAGE_TOKENS for size in sizes)


def test_passages_of_a_script_without_spaces_hold_no_half_characters(tmp_path):
    pairs = passages(tmp_path, CHINESE)
    assert len(pairs) == len(CHINESE)
    for pair in pairs:
        assert pair.text_a in CHINESE[pair.document] and pair.text_b in CHINESE[pair.document]
