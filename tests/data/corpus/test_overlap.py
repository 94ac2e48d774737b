"""Texts that stand in a corpus are counted: whole or in part, whatever stands around them, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tiny import texts
from textssl import tokenizer
from textssl.data.corpus import overlap
from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.encoding import DocumentEncoder
from textssl.data.corpus.overlap import PASSAGE_TOKENS, Overlap, overlaps
from textssl.data.corpus.writer import CorpusWriter

TOPIC = "The harbour master counted forty boats before the storm and wrote their names into a book with a blue cover."
LONG = (
    "In the third week of the voyage the cook found that the flour had gone bad, so the crew lived on fish, on salted "
    "butter and on the last of the onions, until an island with a spring came into sight and everybody rowed ashore."
)
FRESH = "Quiet violins answered the drummer while a choir of children waited behind the curtain for its own turn."


@pytest.fixture(scope="module", params=["bpe", "unigram", "wordpiece"])
def words(request):
    return tokenizer.train_tokenizer(iter([*texts()[:60], TOPIC, LONG, FRESH]), algorithm=request.param, vocab_size=800)


def corpus_of(folder, words, documents: list[str], **options) -> Corpus:
    writer = CorpusWriter(
        folder, tokenizer_hash=tokenizer.tokenizer_hash(words), vocab_size=len(words), split="train", **options
    )
    encoder = DocumentEncoder(words.backend_tokenizer)
    for text in documents:
        encoded = encoder.encode([text])
        writer.add(encoded.ids, encoded.marks, len(text.encode()))
    writer.close()
    return Corpus.open(folder)


def counted(corpus: Corpus, words, *given: str) -> Overlap:
    return overlaps({"task": list(given)}, [(corpus, words.backend_tokenizer)])["task"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "frame", ["{}", "Before it stood this.\n{}\nAnd this behind it.", "A title\n\n{}", "So: {} Yes."]
)
def test_a_whole_text_is_found_whatever_stands_around_it(frame, words, tmp_path):
    corpus = corpus_of(tmp_path / "c", words, [*texts()[:20], frame.format(TOPIC), *texts()[20:30]])
    assert counted(corpus, words, TOPIC, FRESH, f"  {TOPIC}\n") == Overlap(texts=3, whole=2, passage=0)


def test_a_passage_is_found_and_a_shorter_one_is_not(words, tmp_path):
    corpus = corpus_of(tmp_path / "c", words, [*texts()[:20], f"He wrote: {LONG}"])
    own = f"{FRESH} {LONG[40:]}", f"{LONG[:180]} {FRESH}"
    assert counted(corpus, words, *own) == Overlap(texts=2, whole=0, passage=2)
    few = " ".join(LONG.split()[:7])
    assert counted(corpus, words, f"{FRESH} {few} {FRESH}") == Overlap(1, 0, 0)


def test_a_text_without_spaces_is_found_within_a_document(tmp_path):
    rng = np.random.default_rng(0)
    made = ["".join(chr(0x4E00 + int(place)) for place in rng.integers(40, size=60)) for _ in range(40)]
    chinese = tokenizer.train_tokenizer(iter(made), algorithm="unigram", vocab_size=400)
    corpus = corpus_of(tmp_path / "c", chinese, [made[0] + made[1] + made[2], made[3]])
    assert counted(corpus, chinese, made[1], made[3], made[4]) == Overlap(3, 2, 0)


def test_a_short_text_must_be_a_document(words, tmp_path):
    corpus = corpus_of(tmp_path / "c", words, ["Fresh fish.", "They sold fresh bread. And soup.", *texts()[:5]])
    assert counted(corpus, words, "Fresh fish.", "fresh bread.", "soup", "") == Overlap(4, 1, 0)


def test_rulers_and_unknown_characters_are_no_copies(words, tmp_path):
    ruler, strange = "= " * 60 + "end of it", "\u0d05\u0d06 " * 60 + "end"
    corpus = corpus_of(tmp_path / "c", words, [f"{ruler} one", f"{strange} one", *texts()[:5]])
    found = counted(corpus, words, f"{FRESH} {ruler} two", f"{FRESH} {strange.replace(chr(0xD05), chr(0xD07))} two")
    assert found == Overlap(2, 0, 0)


@pytest.mark.slow
def test_it_agrees_with_a_search_by_hand_over_blocks_and_shards(words, tmp_path, monkeypatch):
    """Blocks of a few tokens, several shards, two corpora, and groups that share texts."""
    monkeypatch.setattr(overlap, "BLOCK_TOKENS", 100)
    monkeypatch.setattr(overlap, "BLOCK_DOCUMENTS", 3)
    monkeypatch.setattr(overlap, "AT_ONCE", 50)
    documents = [text[:1500] for text in texts()[:40]]
    corpora = [
        corpus_of(tmp_path / name, words, part, block_tokens=500, shard_tokens=2500)
        for name, part in (("one", documents[:25]), ("two", documents[25:]))
    ]
    assert len(corpora[0].manifest["shards"]) > 2
    rng, groups = np.random.default_rng(0), {"cut": [], "other": [text[:900] for text in texts()[60:90]]}
    for text in documents:
        start = int(rng.integers(max(len(text) - 300, 1)))
        groups["cut"].append(f"{FRESH} {text[start : start + int(rng.integers(30, 300))]} {TOPIC}")
    groups["both"] = [documents[3], groups["cut"][5], FRESH]
    encoder = DocumentEncoder(words.backend_tokenizer)
    rows = [np.asarray(c.shard(i).tokens) for c in corpora for i in range(len(c.manifest["shards"]))]
    windows = {row[start : start + PASSAGE_TOKENS].tobytes() for row in rows for start in range(len(row) - 31)}

    def by_hand(text: str) -> bool:
        encoded = encoder.encode([text.strip()])
        first, *_, last = np.flatnonzero(encoded.marks & 1)[1:]
        inner = encoded.ids[first:last]
        parts = [inner[start : start + PASSAGE_TOKENS] for start in range(len(inner) - 31)]
        return any(part.tobytes() in windows and len(set(part.tolist())) >= 8 for part in parts)

    pairs = [(corpus, words.backend_tokenizer) for corpus in corpora]
    read: list[int] = []
    found = overlaps(groups, pairs, read.append)
    for name in ("cut", "other"):
        assert found[name].found == sum(map(by_hand, groups[name]))
    assert 5 < found["cut"].passage < 40 and found["cut"].whole == 0
    assert found["both"].whole == 1 and sum(read) == sum(corpus.tokens for corpus in corpora)


def test_texts_that_begin_alike_are_told_apart_in_bounded_steps(words, tmp_path, monkeypatch):
    monkeypatch.setattr(overlap, "AT_ONCE", 200)
    same = "From: the office of the harbour master. Subject: boats and storms on this coast. "
    letters = [f"{same}{text[:200]}" for text in texts()[:60]]
    corpus = corpus_of(tmp_path / "c", words, letters[:40])
    assert counted(corpus, words, *letters).whole == 40
