"""Training, saving, loading, words, report and warnings of tokenizers."""

import contextlib
import copy
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers
from transformers import AutoTokenizer

from tests.forked import run
from textssl import tokenizer as tokenizers
from textssl.errors import UserError
from textssl.objectives.clm import CausalLM
from textssl.tokenizer import SPECIAL_TOKENS, for_causal, load, load_backend, report, save, tokenizer_hash
from textssl.tokenizer.vocabulary import Vocabulary, frame_of

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [
    "Hello, world! The year 2024 was said to be the best, wasn't it?",
    "She said: the cafés of Montréal don't open at 3.14 km from here.\n\nThe naïve reader waits.",
    "worlds of words, hello hello said the readers of the world; the years, the cafés, the reader\tread.",
    'A "quoted" word (and 42 others) costs $3.50, or 10% less: see http://example.org/a_b?c=1&d=2 #tag @name',
] * 5
SAMPLE = "Hello, world! don't 3.14km naïve 😀 你好。"
WORDS = {
    "bpe": ["Hello", ",", "world", "!", "don", "'t", "3", ".", "14", "km", "naïve", "😀", "你好", "。"],
    "wordpiece": ["Hello", ",", "world", "!", "don", "'", "t", "3", ".", "14km", "naïve", "😀", "你", "好", "。"],
    "unigram": ["Hello,", "world!", "don't", "3.14km", "naïve", "😀", "你好。"],
}
SIZES = {"bpe": 350, "wordpiece": 400, "unigram": 450}


@pytest.fixture(scope="module")
def trained():
    return {name: tokenizers.train_tokenizer(TEXTS, algorithm=name, vocab_size=SIZES[name]) for name in SIZES}


def words(backend: Tokenizer, text: str) -> list[str]:
    encoding = backend.encode(text, add_special_tokens=False)
    starts = tokenizers.word_starts(backend, text)
    assert starts.dtype == bool and len(starts) == len(encoding.ids)
    bounds = [*np.flatnonzero(starts).tolist(), len(starts)]
    spans = [encoding.offsets[a:b] for a, b in pairwise(bounds)]
    return [text[span[0][0] : max(end for _, end in span)].strip() for span in spans]


@pytest.mark.parametrize("algorithm", SIZES)
def test_words_are_those_of_the_pre_tokenizer(trained, algorithm):
    assert words(trained[algorithm].backend_tokenizer, SAMPLE) == WORDS[algorithm]


@pytest.mark.parametrize("algorithm", SIZES)
def test_words_end_at_line_breaks_and_tabs(trained, algorithm):
    found = words(trained[algorithm].backend_tokenizer, "one\ntwo\n\nthree\tfour  five")
    assert [word for word in found if word] == ["one", "two", "three", "four", "five"]


def test_words_of_a_tokenizer_without_pre_tokenizer():
    vocabulary = [("<unk>", 0.0), ("▁the", -1.0), ("▁cat", -2.0), ("s", -3.0), ("▁", -4.0), ("x", -5.0)]
    backend = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    assert tokenizers.word_starts(backend, "the cats x").tolist() == [True, True, False, True, False]


@pytest.mark.network
def test_words_of_a_pretrained_bert():
    from textssl.data.samples.cache import sample_path

    backend = load_backend(sample_path("minilm"))
    backend.no_padding()
    backend.no_truncation()
    expected = ["tokenization", "don", "'", "t", "3", ".", "14km", "naïve", "😀", "你", "好", "。"]
    assert words(backend, "tokenization don't 3.14km naïve 😀 你好。") == expected


@pytest.mark.parametrize("algorithm", SIZES)
def test_a_folder_loads_without_textssl(trained, algorithm, tmp_path):
    save(trained[algorithm], tmp_path)
    code = (
        "import sys, json, warnings; warnings.simplefilter('error')\n"
        "from transformers import AutoTokenizer\n"
        f"t = AutoTokenizer.from_pretrained({str(tmp_path)!r})\n"
        "assert not any(name.startswith('textssl') for name in sys.modules)\n"
        "print(json.dumps([t('hello world')['input_ids'], t.model_max_length > 10**9, t.model_input_names]))"
    )
    done = run(["-c", code], cwd=tmp_path, libraries_only=True)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    ids, long, names = json.loads(done.stdout)
    assert ids == trained[algorithm]("hello world")["input_ids"] and ids[0] == 2 and ids[-1] == 3
    assert long and names == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("algorithm", SIZES)
def test_special_tokens(trained, algorithm):
    tokenizer = trained[algorithm]
    assert tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2, 3, 4]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.mask_token) == ("[CLS]", "[SEP]", "[MASK]")
    pair = tokenizer("hello", "world")["input_ids"]
    assert pair[0] == 2 and pair.count(3) == 2 and pair[-1] == 3


@pytest.mark.parametrize("algorithm", SIZES)
def test_a_causal_copy_does_not_end_the_text(trained, algorithm, tmp_path):
    causal = load(save(for_causal(trained[algorithm]), tmp_path))
    assert causal("hello world")["input_ids"] == trained[algorithm]("hello world")["input_ids"][:-1]
    assert trained[algorithm]("hello")["input_ids"][-1] == 3, "the original is as it was"
    assert tokenizer_hash(causal) == tokenizer_hash(trained[algorithm])


@pytest.mark.parametrize("missing", [(), ("bos_token",), ("bos_token", "cls_token")])
def test_a_causal_copy_begins_a_text_as_training_does(trained, missing):
    words = copy.deepcopy(trained["bpe"])
    for name in missing:
        setattr(words, name, None)
    objective = CausalLM()
    objective.vocabulary = Vocabulary.of(words)
    assert frame_of(for_causal(words)) == (objective.row_format().prefix, ())


def test_bpe_training_repeats_to_the_byte_in_another_process(tmp_path):
    code = (
        "from textssl.tokenizer import save, train_tokenizer; from tests.test_tokenizer import TEXTS; import sys\n"
        "save(train_tokenizer(TEXTS, vocab_size=350), sys.argv[1])"
    )
    save(tokenizers.train_tokenizer(TEXTS, vocab_size=350), tmp_path / "a")
    assert run(["-c", code, str(tmp_path / "b")]).returncode == 0
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_the_hash_follows_what_decides_the_ids(trained, tmp_path):
    bpe = trained["bpe"]
    assert tokenizer_hash(bpe) == tokenizer_hash(load(save(bpe, tmp_path))) == tokenizer_hash(load_backend(tmp_path))
    others = [trained["unigram"], tokenizers.train_tokenizer(TEXTS, vocab_size=349)]
    others.append(tokenizers.train_tokenizer(TEXTS, vocab_size=350, lowercase=True))
    assert len({tokenizer_hash(other) for other in [bpe, *others]}) == 4


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
@pytest.mark.parametrize("text", ["  two  spaces\n\n\tand 日本語 ", "x", "é\u0300 é", "a\r\nb", "[SEP] \u2581 x"])
def test_bytes_come_back(trained, algorithm, text):
    backend = Tokenizer.from_str(trained[algorithm].backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    back = backend.decode(backend.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
    normal = backend.normalizer.normalize_str(text).replace("\u2581", " " if algorithm == "unigram" else "\u2581")
    assert back.lstrip(" ") == normal.lstrip(" ")


def test_a_sentence_cut_from_a_document_has_the_ids_it_has_alone(trained):
    def ids(text: str) -> list[int]:
        return trained["bpe"].backend_tokenizer.encode(text, add_special_tokens=False).ids

    assert ids("Hello world. The café")[-len(ids("The café")) :] == ids("The café")


def test_report(trained):
    figures = report(trained["bpe"], TEXTS[:4])
    assert figures.unknown == 0 and figures.round_trip == figures.round_trip_normalized == 1
    ids = trained["bpe"](TEXTS[:4], add_special_tokens=False)["input_ids"]
    assert figures.tokens == sum(map(len, ids)) and figures.bytes == sum(len(text.encode()) for text in TEXTS[:4])
    assert figures.words == sum(len(text.split()) for text in TEXTS[:4])
    assert figures.vocabulary_used == len({i for row in ids for i in row}) / 350
    assert figures.characters == sum(map(len, TEXTS[:4]))
    assert figures.characters_per_token == figures.characters / figures.tokens and not figures.spaceless
    assert figures.rough() == f"{figures.words} words"
    assert not figures.warnings() and figures.table().row_count == 9
    foreign = report(trained["wordpiece"], ["привет мир", "hello"])
    assert foreign.unknown > 0.1 and foreign.round_trip_normalized == 0.5
    assert "unknown" in foreign.warnings()[0] and foreign.unknown_characters == 9 / 15


def test_report_shows_how_much_of_the_text_is_in_words_that_wordpiece_takes_for_unknown(trained):
    """As Thai clauses, which have no spaces, may be."""
    figures = report(trained["wordpiece"], ["the cat " * 100 + "cat" * 60] * 2)
    assert figures.unknown < 0.01 and figures.unknown_characters == 180 / 980
    (warning,) = figures.warnings()
    assert "with 18.37% of the characters" in warning and "more than 100 characters" in warning
    assert figures.table().row_count == 10


@pytest.mark.parametrize("text", ["我们今天去公园散步。", "私たちは今日公園へ行った。", "วันนี้เราไปเดินเล่นที่สวน"])
def test_report_of_a_script_without_spaces_leads_with_characters(trained, text):
    """A word between spaces is a whole sentence there, so neither tokens per word nor the count of words say much."""
    figures = report(trained["bpe"], [text * 20] * 10)
    assert figures.spaceless and figures.words == 10 and figures.rough() is None
    names = list(figures.table().columns[0].cells)
    assert "tokens per word" not in names
    assert names.index("characters per token") < names.index("tokens between two spaces")
    assert report(trained["bpe"], [text]).rough() == f"{len(text)} characters"
    assert not report(trained["bpe"], ["We walked in the park today, 公园"]).spaceless


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"normalization": "NFKC"}, "file É"),
        ({"normalization": None}, "ﬁle E\u0301"),
        ({"normalization": "NFC", "lowercase": True}, "ﬁle é"),
        ({"normalization": None, "strip_accents": True}, "ﬁle E"),
    ],
)
@pytest.mark.parametrize("algorithm", SIZES)
def test_normalization(algorithm, options, expected):
    tokenizer = tokenizers.train_tokenizer(TEXTS, algorithm=algorithm, vocab_size=SIZES[algorithm], **options)
    normalizer = tokenizer.backend_tokenizer.normalizer
    text = "ﬁle E\u0301"
    assert (normalizer.normalize_str(text) if normalizer else text) == expected


@pytest.mark.parametrize(
    "options, message",
    [
        ({"algorithm": "sentencepiece"}, "algorithm"),
        ({"normalization": "nfc"}, "normalization"),
        ({"vocab_size": 200}, "needs 261"),
        ({"vocab_size": 300, "algorithm": "unigram"}, "needs 355"),
        ({"vocab_size": 100, "algorithm": "unigram", "byte_fallback": False}, "too small for the characters"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        tokenizers.train_tokenizer(TEXTS, **options)


@pytest.mark.parametrize("algorithm", SIZES)
def test_no_text_is_named(algorithm):
    with pytest.raises(UserError, match="no text"):
        tokenizers.train_tokenizer(iter([]), algorithm=algorithm, vocab_size=SIZES[algorithm])


def test_unigram_without_byte_fallback_has_an_honest_unknown():
    tokenizer = tokenizers.train_tokenizer(TEXTS, algorithm="unigram", vocab_size=200, byte_fallback=False)
    assert 1 in tokenizer("日")["input_ids"] and not tokenizers.covers_all_bytes(tokenizer.backend_tokenizer)


def test_family_warnings(trained):
    assert not tokenizers.check_family(trained["bpe"], "llama") + tokenizers.check_family(trained["bpe"], "modernbert")
    assert not tokenizers.check_family(trained["unigram"], "gpt2")
    assert not tokenizers.check_family(trained["wordpiece"], "bert")
    causal = " ".join(tokenizers.check_family(trained["wordpiece"], "llama"))
    assert "every byte" in causal and "WordPiece" in causal
    bare = for_causal(trained["bpe"])
    bare.mask_token = bare.eos_token = bare.pad_token = None
    assert ["mask" in note or "padding" in note for note in tokenizers.check_family(bare, "bert")] == [True, True]
    assert "end-of-text" in " ".join(tokenizers.check_family(bare, "llama"))


def test_loading_what_is_no_tokenizer(tmp_path):
    for loader in (load, load_backend):
        with pytest.raises(UserError, match="does not exist"):
            loader(tmp_path / "none")
        with pytest.raises(UserError, match="holds no tokenizer"):
            loader(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    with pytest.raises(UserError, match="cannot be read"):
        load_backend(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "mine/tokenizer", "a/b/c"])
def test_a_missing_folder_is_answered_at_once(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(UserError, match=f"the tokenizer folder {name} does not exist"):
        load(name)


def test_both_ways_of_loading_give_the_same_ids(trained, tmp_path):
    save(trained["wordpiece"], tmp_path)
    auto = AutoTokenizer.from_pretrained(tmp_path).backend_tokenizer
    assert json.loads(auto.to_str()) == json.loads(load_backend(tmp_path).to_str())


def test_a_folder_never_runs_its_own_code(trained, tmp_path, monkeypatch):
    save(trained["bpe"], tmp_path)
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\nclass Tok: ...\n")
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Tok", "auto_map": {"AutoTokenizer": [None, "evil.Tok"]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    for loading in (load, load_backend):
        with contextlib.suppress(UserError):
            loading(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("algorithm", "options", "kept"),
    [
        ("bpe", {}, True),
        ("bpe", {"lowercase": True}, False),
        ("bpe", {"normalization": "NFKC"}, False),
        ("wordpiece", {}, False),
        ("unigram", {}, True),
        ("unigram", {"byte_fallback": False}, False),
    ],
)
def test_which_tokenizers_keep_all_of_a_text(algorithm, options, kept):
    words = tokenizers.train_tokenizer(iter(TEXTS), algorithm=algorithm, vocab_size=SIZES[algorithm], **options)
    assert tokenizers.keeps_text(words) is kept
