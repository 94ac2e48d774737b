"""Pieces of real Markdown, Chinese and Russian text have the tokens of their text alone, whatever stood before them."""

# ruff: noqa: RUF001 (letters and signs of other scripts are the subject)

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from textssl import tokenizer as tokenizers
from textssl.data.batches.standalone import StandaloneTokens
from textssl.data.corpus.encoding import DocumentEncoder
from textssl.sample_types import SENTENCE_START, WORD_START
from textssl.views.crops import two_spans

ROOT = Path(__file__).resolve().parents[3]
CHINESE = (
    "自监督学习是一种机器学习方法。它不需要标签，用数据本身作为监督信号！\n\n第二段：“你好”，他说。\t'tis\n- it's\n"
)
RUSSIAN = "Самообучение — это метод. Он не требует меток!\n\n* список\n*  ещё один  пункт\nснег's\n"
MARKDOWN = [path.read_text() for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs/fine-tuning.md")]
TEXTS = [*MARKDOWN, MARKDOWN[0][:20_000].replace(". ", ".  "), CHINESE, RUSSIAN]
UNKNOWN = "A word\n☃ alone ☃x\n- ☃\n\n☃☃ end  ☃"
CONTRACTED = "We'll 'llama it's it'street o'reilly's don't I'VE I'D 'tis y'all'd've 'rest they're'nt l'l 'v 'sm" * 3
KINDS = ("wordpiece", "bpe", "bpe without prefix", "unigram", "unigram without prefix", "unigram without bytes")


def metaspaces(state):
    return [step for part in ("pre_tokenizer", "decoder") for step in next(
        value for key, value in state[part].items() if key in ("pretokenizers", "decoders")
    ) if step["type"] == "Metaspace"]  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def backend(request):
    algorithm, _, variant = request.param.partition(" ")
    trained = tokenizers.train_tokenizer(
        TEXTS, algorithm=algorithm, vocab_size=1500, byte_fallback=variant != "without bytes"
    )
    state = json.loads(trained.backend_tokenizer.to_str())
    if request.param == "bpe without prefix":
        state["pre_tokenizer"]["add_prefix_space"] = False
    elif request.param == "unigram without prefix":
        for step in metaspaces(state):
            step["prepend_scheme"] = "never"
    return Tokenizer.from_str(json.dumps(state))


def spans(marks, rng):
    """Crops, sentences, and pieces cut anywhere."""
    found = [span for _ in range(60) for span in two_spans(marks, 4, 48, "disjoint", rng)]
    starts = np.flatnonzero(marks & SENTENCE_START).tolist()
    found += zip(starts, [*starts[1:], len(marks)], strict=True)
    places = rng.integers(0, len(marks), 40)
    return found + [(int(place), min(int(place) + int(rng.integers(1, 50)), len(marks))) for place in places]


def text_of(alone, ids):
    text = alone.tokenizer.decode(ids.tolist(), skip_special_tokens=False).removeprefix(alone.inner)
    if alone.unknown is not None and alone.unknown in ids:
        text = text.replace("[UNK]", alone.unknown_sign)
    return text.strip().strip("\ufffd").strip()


def score(backend, ids):
    """What the algorithm chooses by: of Unigram the log-probability, as two splits may have the same one."""
    model = json.loads(backend.to_str())["model"]
    return sum(model["vocab"][i][1] for i in ids) if model["type"] == "Unigram" else list(ids)


def compare(backend, texts, rng):
    """(pieces, those whose own tokens are not the text's); all have those of the text when they come out."""
    alone, bare = StandaloneTokens(backend), Tokenizer.from_str(backend.to_str())
    bare.encode_special_tokens = True  # "[MASK]" in a document is text there too
    pieces = differing = 0
    for text in texts:
        encoded = DocumentEncoder(backend).encode([text])
        cut = [encoded.ids[begin:end].astype(np.int64) for begin, end in spans(encoded.marks, rng)]
        for piece, found in zip(cut, alone(cut), strict=True):
            expected = bare.encode(text_of(alone, piece), add_special_tokens=False).ids
            if not expected:  # nothing but space, or half a character
                continue
            assert found.dtype == np.int64
            assert found.tolist() == expected or score(backend, found) == pytest.approx(score(backend, expected))
            pieces, differing = pieces + 1, differing + (piece.tolist() != expected)
    return pieces, differing


@pytest.mark.slow
def test_pieces_have_the_tokens_of_their_text_alone(backend):
    pieces, differing = compare(backend, TEXTS, np.random.default_rng(0))
    assert pieces > 1000
    if backend.pre_tokenizer is not None and "##the" not in backend.get_vocab():
        assert differing > pieces / 10 or json.loads(backend.to_str())["model"]["type"] == "WordPiece"


def test_pieces_that_end_within_a_contraction(backend):
    """Every piece of words that only begin like "'ll", or that are two contractions."""
    alone, bare = StandaloneTokens(backend), Tokenizer.from_str(backend.to_str())
    encoded = DocumentEncoder(backend).encode([CONTRACTED])
    ids, begins = encoded.ids.astype(np.int64), np.flatnonzero(encoded.marks & WORD_START).tolist()
    pieces = [ids[begin:end] for begin in begins for end in range(begin + 1, min(begin + 12, len(ids)) + 1)]
    assert len(pieces) > 400
    for piece, found in zip(pieces, alone(pieces), strict=True):
        expected = bare.encode(text_of(alone, piece), add_special_tokens=False).ids
        if expected:  # nothing but space otherwise
            assert found.tolist() == expected or score(backend, found) == pytest.approx(score(backend, expected))


def test_half_a_contraction_is_encoded_again():
    """ "'l" is merged within "'ll", which is a word of its own; at the end of a text apostrophe and letter are two."""
    alphabet = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merged = {"'s": len(alphabet), "'l": len(alphabet) + 1}
    backend = Tokenizer(models.BPE(vocab=alphabet | merged, merges=[("'", "s"), ("'", "l")]))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    half, whole = (np.array(backend.encode(text).ids, np.int64) for text in ("we'll", "it's"))
    assert merged["'l"] == half[2] and merged["'s"] == whole[2]
    found = StandaloneTokens(backend)([half[:3], whole])
    assert [ids.tolist() for ids in found] == [backend.encode(text).ids for text in ("we'l", "it's")]
    assert len(found[0]) == 4


def test_unknown_characters_stay_unknown(backend):
    compare(backend, [UNKNOWN], np.random.default_rng(1))


def test_a_piece_of_space_stays_and_openings_are_remembered(backend):
    alone = StandaloneTokens(backend)
    encoded = DocumentEncoder(backend).encode(["end.\n\n\n\nnext word"])
    ids = encoded.ids.astype(np.int64)
    blank = ids[alone.blank[ids]]
    assert alone([blank])[0].tolist() == blank.tolist()  # WordPiece has none
    _, second = np.flatnonzero(encoded.marks & SENTENCE_START)
    (found,) = alone([ids[second:]])
    assert found.tolist() == backend.encode("next word", add_special_tokens=False).ids
    assert len(alone.openings) <= 1 and alone([ids[second:]])[0].tolist() == found.tolist()


def test_a_pretrained_vocabulary_that_takes_whole_words_first_is_encoded_again_to_the_end():
    """ignore_merges: letters that are a whole word in the vocabulary need no merges, those of a longer word do."""
    backend = tokenizers.train_tokenizer(MARKDOWN, vocab_size=400).backend_tokenizer
    state = json.loads(backend.to_str())
    state["model"]["ignore_merges"] = True
    state["model"]["vocab"]["Ġtraz"] = 400
    backend = Tokenizer.from_str(json.dumps(state))
    piece = np.array(backend.encode("a trazz", add_special_tokens=False).ids, dtype=np.int64)[:-1]
    assert 400 not in piece and 400 in StandaloneTokens(backend)([piece])[0]
