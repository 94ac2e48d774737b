"""Documents -> a prepared corpus: same bytes for any number of workers, nothing half finished, long texts, marks."""

import json
import os
import signal
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.forked import Forked
from textssl.assembly.resolution import resolve
from textssl.assembly.tokenizers import open_tokenizer
from textssl.commands.prepare import prepare
from textssl.commands.tokenizer import train_tokenizer as train_workflow
from textssl.config import parse_config
from textssl.data.corpus import encoding
from textssl.data.corpus.corpus import Corpus
from textssl.data.corpus.dedup import digest, unit_interval
from textssl.data.corpus.encoding import DocumentEncoder, cut
from textssl.data.corpus.workers import Encoders, Texts, in_order
from textssl.data.samples import cache as samples
from textssl.errors import UserError
from textssl.tokenizer import load_backend, save, tokenizer_hash, train_tokenizer

RNG = np.random.default_rng(0)
WORDS = "the a river of stones, Dr. Wu's 3.5 café ran over it. Then she said: go! 你好。 why?".split()  # noqa: SIM905


def text(num_words: int) -> str:
    return " ".join(RNG.choice(WORDS, num_words))


TEXTS = [text(int(n)) for n in RNG.integers(3, 120, 400)]
ALGORITHMS = {"bpe": 400, "wordpiece": 300, "unigram": 420}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tokenizers of every algorithm, and docs.jsonl with duplicates and broken records."""
    path = tmp_path_factory.mktemp("prepare")
    for name, size in ALGORITHMS.items():
        save(train_tokenizer(TEXTS, algorithm=name, vocab_size=size, min_frequency=1), path / name)
    with (path / "docs.jsonl").open("w") as file:
        for place, value in enumerate(TEXTS):
            file.write(json.dumps({"text": value}) + "\n")
            if place % 40 == 7:
                file.write(json.dumps({"text": TEXTS[place // 2]}) + "\n")
        file.write('{"text": ""}\n{"text": "\\u0000"}\nnonsense\n')
    return path


@pytest.fixture(scope="module")
def cleaned(folder) -> Path:
    """The corpus of near.jsonl, in which texts come a second time with one more word, without the near-duplicates."""
    both = [value for text in TEXTS for value in (text, f"{text} again")]
    write_lines(folder / "near.jsonl", both)
    corpus = prepare(folder / "near.jsonl", folder / "bpe", folder / "cleaned", workers=1, near_duplicates=0.6)
    assert corpus.manifest["dropped"]["near-duplicate"] > 300
    return corpus.path


def files(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def documents(corpus: Corpus) -> list[tuple[list[int], list[int], int]]:
    found = []
    for index, shard in enumerate(corpus.manifest["shards"]):
        arrays = corpus.shard(index)
        bounds = arrays.bounds(0, shard["documents"])
        for row, (a, b) in enumerate(pairwise(bounds)):
            found.append((arrays.tokens[a:b].tolist(), arrays.marks[a:b].tolist(), int(arrays.documents[row, 1])))
    return found


@pytest.mark.slow
def test_same_bytes_whatever_the_workers(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("textssl.data.corpus.pieces.PIECE_CHARACTERS", 2000)
    made = [
        prepare(
            folder / "docs.jsonl", folder / "bpe", tmp_path / str(n), workers=n, block_tokens=500, shard_tokens=5000
        )
        for n in (1, 2, 3)
    ]
    first = files(made[0].path)
    assert len(first) > 10 and all(files(corpus.path) == first for corpus in made[1:])
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_stored(folder, tmp_path, algorithm):
    train = prepare(folder / "docs.jsonl", folder / algorithm, tmp_path / "out", workers=1, held_out=0.2)
    aside = Corpus.open(train.held_out)
    assert train.documents + aside.documents == len(set(TEXTS))
    backend = load_backend(folder / algorithm)
    kept, unique = {"train": [], "held-out": []}, list(dict.fromkeys(TEXTS))
    for value in unique:
        kept["held-out" if unit_interval(digest(value.encode())) < 0.2 else "train"].append(value)
    for corpus in (train, aside):
        corpus.check()
        stored = documents(corpus)
        expected = kept[corpus.manifest["split"]]
        assert [ids for ids, _, _ in stored] == [backend.encode(t, add_special_tokens=False).ids for t in expected]
        assert [size for _, _, size in stored] == [len(value.encode()) for value in expected]
        assert all(marks[0] == 3 for _, marks, _ in stored)
    dropped = train.manifest["dropped"]
    assert dropped["duplicate"] == 10 and sum(dropped.values()) == 13
    assert 0.1 < aside.documents / len(unique) < 0.3
    assert train.manifest["provenance"]["inputs"] == [str(folder / "docs.jsonl")]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_sentences_begin_where_they_are_written(folder, algorithm):
    backend = load_backend(folder / algorithm)
    sentences = ["Dr. Wu ran.", "Why?", "“The river,” she said.", "Go over it!"]
    encoded = DocumentEncoder(backend).encode([" ".join(sentences), "", sentences[0]])
    assert encoded.lengths.tolist()[1] == 0 and encoded.lengths.sum() == len(encoded.ids) == len(encoded.marks)
    starts = np.flatnonzero(encoded.marks[: encoded.lengths[0]] & encoding.SENTENCE_START)
    lengths = [len(backend.encode(sentence, add_special_tokens=False).ids) for sentence in sentences]
    assert starts.tolist() == [0, *np.cumsum(lengths)[:-1].tolist()]
    assert (encoded.marks[starts] & encoding.WORD_START).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_long_document_has_the_ids_of_the_uncut_one(folder, monkeypatch, algorithm):
    long = [text(3000), text(10) + "\n\n" + text(2000), "x" * 50]
    backend = load_backend(folder / algorithm)
    whole = DocumentEncoder(backend).encode(long)
    assert whole.ids[: whole.lengths[0]].tolist() == backend.encode(long[0], add_special_tokens=False).ids
    monkeypatch.setattr(encoding, "SEGMENT_CHARACTERS", 200)
    monkeypatch.setattr(encoding, "BATCH_CHARACTERS", 900)
    pieces = DocumentEncoder(backend).encode(long)
    for first, second in zip(whole, pieces, strict=True):
        assert np.array_equal(first, second)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD", None])
def test_text_out_of_its_normal_form_has_the_ids_that_the_tokenizer_gives(form):
    texts = ["ﬁn e\u0301 Å. 한국 ½ ①", "plain", "e\u0323\u0301 q\u0307\u0323", "é É ü"]
    backend = train_tokenizer(texts * 9, vocab_size=300, normalization=form).backend_tokenizer
    encoded = DocumentEncoder(backend).encode(texts)
    expected = [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]
    assert encoded.ids.tolist() == [i for ids in expected for i in ids]


def test_cuts_cover_the_text_and_have_bounded_length(monkeypatch):
    monkeypatch.setattr(encoding, "SEGMENT_CHARACTERS", 10)
    monkeypatch.setattr(encoding, "LONGEST_SEGMENT", 30)
    chinese = "你好世界。" * 40
    bounds = list(cut(chinese, True))
    assert "".join(chinese[a:b] for a, b in bounds) == chinese and max(b - a for a, b in bounds) <= 30
    spaced = "some words, and, more words " * 10
    assert " ".join(spaced[a:b] for a, b in cut(spaced, True)) == spaced
    assert "".join(spaced[a:b] for a, b in cut(spaced, False)) == spaced
    assert list(cut("short", True)) == [(0, 5)]


def test_text_that_looks_special_is_stored_as_text(folder):
    for algorithm in ALGORITHMS:
        encoded = DocumentEncoder(load_backend(folder / algorithm)).encode(["the [SEP] river [MASK] [PAD]"])
        assert not set(encoded.ids.tolist()) & {0, 2, 3, 4}


def test_a_small_corpus_gets_held_out_documents(folder, tmp_path, capsys):
    (tmp_path / "small.txt").write_text("\n\n".join(TEXTS[:50]))
    corpus = prepare([tmp_path / "small.txt"], folder / "bpe", tmp_path / "out", workers=1)
    assert Corpus.open(corpus.held_out).documents == 10 and corpus.documents == 40
    assert "10 are held out" in capsys.readouterr().out
    (tmp_path / "one.txt").write_text("the river")
    corpus = prepare([tmp_path / "one.txt"], folder / "bpe", tmp_path / "one", workers=1)
    assert corpus.documents == 1 and "No document is held out" in capsys.readouterr().out


def test_finished_and_foreign_folders_are_not_overwritten(folder, tmp_path):
    (tmp_path / "a.txt").write_text("the river\n\nran over it")
    arguments = (tmp_path / "a.txt", folder / "bpe", tmp_path / "out")
    prepare(*arguments, workers=1)
    before = files(tmp_path / "out")
    with pytest.raises(UserError, match="finished corpus"):
        prepare(*arguments, workers=1)
    with pytest.raises(UserError, match="--workers is 0"):
        prepare(*arguments, workers=0, overwrite=True)
    with pytest.raises(UserError, match="there is no file"):
        prepare(tmp_path / "none.txt", folder / "bpe", tmp_path / "other", workers=1)
    (tmp_path / "empty.jsonl").write_text('{"text": " "}\n')
    with pytest.raises(UserError, match="no document is left"):
        prepare(tmp_path / "empty.jsonl", folder / "bpe", tmp_path / "out", workers=1, overwrite=True)
    assert files(tmp_path / "out") == before and not (tmp_path / "other").exists()
    prepare(*arguments, workers=1, overwrite=True)
    assert files(tmp_path / "out") == before
    with pytest.raises(UserError, match="other files"):
        prepare(tmp_path / "a.txt", folder / "bpe", folder, workers=1, overwrite=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_run_leaves_nothing_that_looks_finished(folder, cleaned, tmp_path, how):
    fifo, out = tmp_path / "docs.jsonl", tmp_path / "out"
    fifo.write_bytes((folder / "near.jsonl").read_bytes() * 30)
    code = (
        "import signal, sys; from textssl.commands.prepare import prepare\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # background jobs begin with it ignored
        "from textssl.data.corpus import prepare as module; module.PIECE_CHARACTERS = 500\n"
        "prepare(sys.argv[1], sys.argv[2], sys.argv[3], workers=2, near_duplicates=0.6)"
    )
    process = Forked(["-c", code, str(fifo), str(folder / "bpe"), str(out)])
    side = tmp_path / ".out.partial"
    while not (side / "tokens-00000.npy").is_file():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    workers = children(process.pid)
    process.send_signal(how)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert not out.exists() and not (side / "corpus.json").exists()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/exe").exists() for pid in workers):
        assert time.monotonic() < deadline, "encoder processes outlive the run"
        time.sleep(0.05)
    again = prepare(folder / "near.jsonl", folder / "bpe", out, workers=1, near_duplicates=0.6)
    assert sorted(os.listdir(tmp_path)) == ["docs.jsonl", "out"]
    assert files(again.path) == files(cleaned)


def children(pid: int) -> list[int]:
    """Processes that any thread of this one started."""
    lists = [(task / "children").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
    return [int(child) for one in lists for child in one]


@pytest.mark.slow
def test_what_is_kept_out_is_counted_and_the_same_whatever_the_workers(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("textssl.data.corpus.pieces.PIECE_CHARACTERS", 2000)
    text, longer = (next(text for text in TEXTS if len(text) > size) for size in (200, 500))
    words = [*text.split(), "and", "no", "further"]
    near, shouted = " ".join([*words[:-1], "farther"]), " ".join(words).upper()
    odd = ["short", "Lorem ipsum dolor sit amet", "x" * 40 + "123", "日本語 " * 20, "river " * 30]
    lines = [*odd, " ".join(words), near, shouted, " ".join(words), *TEXTS]
    source = write_lines(tmp_path / "docs.jsonl", lines)
    rules = {
        "min_characters": 20,
        "max_characters": len(longer) - 1,
        "drop_matching": "Lorem",
        "keep_matching": "[A-z] ",
    }
    options = {**rules, "near_duplicates": 0.8, "drop_repetitive": True}
    made = [
        prepare(source, folder / "bpe", tmp_path / str(n), workers=n, keep_languages="en, de", **options)
        for n in (1, 2, 3)
    ]
    first = files(made[0].path)
    assert all(files(corpus.path) == first for corpus in made[1:])
    manifest = made[0].manifest
    dropped, shown = manifest["dropped"], manifest["dropped_examples"]
    assert shown["too short"][0] == f"{source}:1 (5 characters)"
    assert shown["matches --drop-matching"] == [f"{source}:2 ('Lorem')"]
    assert shown["no match of --keep-matching"][0].startswith(f"{source}:3 ('xxxxxx")
    assert shown["repetition"][0].startswith(f"{source}:5 (1.00 of the characters in the commonest run of 2 words")
    assert shown["too long"][0] == f"{source}:{lines.index(longer) + 1} ({len(longer)} characters)"
    assert shown["duplicate"][0] == f"{source}:9"
    near_places = [one.split(": ")[0] for one in shown["near-duplicate"][:2]]
    like = len(words) - 4 - 1
    assert near_places == [f"{source}:7 ({like / (like + 2):.2f} like {source}:6", f"{source}:8 (1.00 like {source}:6"]
    kept = made[0].documents + Corpus.open(made[0].held_out).documents
    assert kept == len(lines) - sum(dropped.values()) and made[0].languages.keys() == {"en"}
    assert manifest["provenance"]["options"].items() >= options.items()
    said = " ".join(capsys.readouterr().out.split())
    assert f"{dropped['near-duplicate']} near-duplicates were dropped; the first of each group was kept." in said


def test_a_single_core_needs_no_second_process(folder, tmp_path, monkeypatch):
    pytest.importorskip("nanotoken", reason="the extra fast is not installed")
    monkeypatch.setattr("textssl.data.corpus.engine_choice.WORTH_CHARACTERS", 2000)
    options: dict[str, Any] = {"block_tokens": 500, "near_duplicates": 0.6, "min_characters": 20}
    apart = prepare(folder / "docs.jsonl", folder / "wordpiece", tmp_path / "apart", workers=1, **options)
    assert "nanotoken" in apart.manifest["provenance"]["engine"]
    monkeypatch.setattr("textssl.data.corpus.workers.usable_cores", lambda: 1)
    monkeypatch.setattr("textssl.data.corpus.workers.Helper", None)
    here = prepare(folder / "docs.jsonl", folder / "wordpiece", tmp_path / "here", workers=1, **options)
    assert files(here.path) == files(apart.path)


def test_a_failing_worker_is_reported(folder):
    backend = load_backend(folder / "bpe")
    with Encoders(1) as encoders, pytest.raises(RuntimeError, match="AttributeError"):
        wrong: Any = [b"not a str"]
        list(in_order(encoders.prepared(backend), [(Texts(wrong, ["a:1"]), None)]))
    with Encoders(1) as encoders, pytest.raises(RuntimeError, match="killed by signal 9"):
        workers = encoders.prepared(backend)
        encoders.helpers[0].process.kill()
        list(in_order(workers, [(Texts(["the river"], ["a:1"]), None)]))


def test_the_tokenizer_command(folder, tmp_path, capsys):
    tokenizer = train_workflow(folder / "docs.jsonl", tmp_path / "tok", vocab_size=300)
    assert len(tokenizer) == 300
    written = json.loads((tmp_path / "tok" / "report.json").read_text())
    assert written["round_trip"] == 1 and written["vocab_size"] == 300
    assert "bytes per token" in capsys.readouterr().out
    train_workflow(folder / "docs.jsonl", tmp_path / "tok", vocab_size=20_000, algorithm="wordpiece")
    assert "text is too small for 20,000 tokens" in " ".join(capsys.readouterr().out.split())
    (tmp_path / "tok" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"notes\.txt"):
        train_workflow(folder / "docs.jsonl", tmp_path / "tok", vocab_size=300)
    assert isinstance(load_backend(tmp_path / "tok"), Tokenizer)


def test_the_tokenizer_of_a_sample(folder, tmp_path, monkeypatch):
    named = {"sample:minilm": folder / "wordpiece"}
    monkeypatch.setattr(samples, "sample_path", lambda name: named[name])
    corpus = prepare([folder / "docs.jsonl"], "sample:minilm", tmp_path / "corpus")
    assert corpus.manifest["provenance"]["tokenizer"] == "sample:minilm"
    assert corpus.tokenizer_hash == tokenizer_hash(load_backend(folder / "wordpiece"))
    config, _ = resolve(parse_config({"tokenizer": "sample:minilm"}))
    words, _ = open_tokenizer(config)
    assert tokenizer_hash(words) == corpus.tokenizer_hash and config.tokenizer == str(folder / "wordpiece")


def test_files_beside_a_corpus_or_tokenizer_are_never_removed(folder, tmp_path):
    (tmp_path / "a.txt").write_text("the river\n\nran over it")
    prepare(tmp_path / "a.txt", folder / "bpe", tmp_path / "out", workers=1)
    (tmp_path / "out" / "held-out").mkdir(exist_ok=True)
    (tmp_path / "out" / "held-out" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="other files"):
        prepare(tmp_path / "a.txt", folder / "bpe", tmp_path / "out", workers=1, overwrite=True)
    assert (tmp_path / "out" / "held-out" / "thesis.txt").exists()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "tokenizer.json").write_text("of another program")
    with pytest.raises(UserError, match="other files"):
        train_workflow(tmp_path / "a.txt", tmp_path / "words", vocab_size=300)
    assert (tmp_path / "words" / "tokenizer.json").read_text() == "of another program"


def test_names_that_are_not_utf_8_are_written_escaped(folder, tmp_path, capsys):
    source = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl")
    Path(source).write_text("\n".join([*(json.dumps({"text": text}) for text in TEXTS[:20]), "broken"]))
    corpus = prepare(source, folder / "bpe", tmp_path / "out", workers=1)
    assert corpus.manifest["provenance"]["inputs"] == [f"{tmp_path}/caf\\udce9.jsonl"]
    assert "invalid JSON" in capsys.readouterr().out


GERMAN = "Laut Abs. 2 kam am 3. Mai, wie Hr. Kunz schrieb, z. B. Peter zu uns. Danach ging er wieder."
ENGLISH = "He was there with the others, and it was late. Then they left for Bonn."


def write_lines(file: Path, lines: list[str]) -> Path:
    file.write_text("".join(json.dumps({"text": line}) + "\n" for line in lines), encoding="utf-8")
    return file


def test_the_language_of_each_document_is_guessed_and_recorded(folder, tmp_path, capsys):
    lines = [f"{place} {GERMAN}" for place in range(30)] + [f"{place} {ENGLISH}" for place in range(4)] + ["Nr. 7"]
    source = write_lines(tmp_path / "docs.jsonl", lines)
    made = [prepare(source, folder / "bpe", tmp_path / str(n), workers=n, held_out=0) for n in (1, 2)]
    assert files(made[0].path) == files(made[1].path)
    manifest = made[0].manifest
    assert manifest["language"] == "auto" and made[0].languages == {"de": 31, "en": 4}  # the short one, like most
    assert manifest["sentences"] == 30 * 2 + 4 * 2 + 1
    assert "Sentences were cut as those of de (31 documents), en (4 documents)." in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_given_language_holds_for_every_document(folder, tmp_path):
    source = write_lines(tmp_path / "docs.jsonl", [f"{GERMAN} {place}" for place in range(30)])
    made = {
        code: prepare(source, folder / "bpe", tmp_path / code, workers=1, held_out=0.2, language=code)
        for code in ("de", "en")
    }
    for code, corpus in made.items():
        assert corpus.manifest["language"] == code and corpus.languages == {code: 30}
        assert Corpus.open(corpus.held_out).languages == {code: 30}
        assert corpus.manifest["provenance"]["options"]["language"] == code
    assert made["en"].manifest["sentences"] > made["de"].manifest["sentences"]


def test_an_unknown_language_is_said_before_anything_is_read(folder, tmp_path):
    with pytest.raises(UserError, match="--language is deutsch, it must be auto or one of am, "):
        prepare(tmp_path / "missing", folder / "bpe", tmp_path / "out", language="deutsch")


def test_a_corpus_without_languages_opens(folder, tmp_path):
    corpus = prepare(folder / "docs.jsonl", folder / "bpe", tmp_path / "old", workers=1)
    file = corpus.path / "corpus.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({key: manifest[key] for key in manifest if not key.startswith("language")}))
    assert Corpus.open(corpus.path).languages == {}
