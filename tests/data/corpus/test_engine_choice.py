"""Which engine prepares a corpus: tried on hard strings and the own text, remembered, and the corpus is the same."""

import sys
from pathlib import Path

import numpy as np
import pytest

from textssl.commands.prepare import prepare
from textssl.data.corpus import engine_choice
from textssl.data.corpus.engine_choice import choose_engine
from textssl.data.text.documents import Document
from textssl.tokenizer import load_backend, save, train_tokenizer
from textssl.tokenizer.engines import NanotokenEngine

pytest.importorskip("gigatoken", reason="the extra fast is not installed")
pytest.importorskip("nanotoken", reason="the extra fast is not installed")

RNG = np.random.default_rng(3)
WORDS = "The river's banks. Dr. Wu ran 3.5 km over café tables, and why? 你好。 Is it so? DON'T".split()  # noqa: SIM905
TEXTS = [" ".join(RNG.choice(WORDS, 40)) for _ in range(60)]
DOCUMENTS = [Document(text, f"docs:{place}") for place, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("engines")
    save(train_tokenizer(TEXTS, algorithm="wordpiece", vocab_size=300, lowercase=True), path / "wordpiece")
    save(train_tokenizer(TEXTS, vocab_size=400), path / "bpe")
    (path / "docs.txt").write_text("\n\n".join(TEXTS), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def eager(monkeypatch, tmp_path):
    """Engines are tried on little text, and verdicts go to a folder of the test."""
    monkeypatch.setenv("TEXTSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_choice, "WORTH_CHARACTERS", 1000)
    monkeypatch.setattr(engine_choice, "hard_strings", lambda: ["don't [SEP] e\u0301", "x  y"])


def arrays(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*.npy")}


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "package"), [("wordpiece", "nanotoken"), ("bpe", "gigatoken")])
def test_the_corpus_is_the_same_without_the_extra(folder, tmp_path, monkeypatch, capsys, algorithm, package):
    fast = prepare(folder / "docs.txt", folder / algorithm, tmp_path / "fast", workers=1)
    assert fast.manifest["provenance"]["engine"].startswith(f"{package} ")
    assert f"encoding with {package} " in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, package, None)
    slow = prepare(folder / "docs.txt", folder / algorithm, tmp_path / "slow", workers=1)
    assert slow.manifest["provenance"]["engine"].startswith("tokenizers ")
    assert arrays(fast.path) == arrays(slow.path) and len(arrays(fast.path)) == 6
    assert fast.fingerprint == slow.fingerprint
    for corpus in (fast, slow):
        del corpus.manifest["provenance"]
    assert fast.manifest == slow.manifest


def test_one_difference_and_the_library_encodes_now_and_later(folder, tmp_path, monkeypatch, capsys):
    encode = NanotokenEngine.encode

    def doctored(self, texts):
        ids, lengths = encode(self, texts)
        if any(len(text) > 20 and text in TEXTS[3] for text in texts):  # one id of one document
            ids = ids.copy()
            ids[-1] = 5
        return ids, lengths

    with monkeypatch.context() as patched:
        patched.setattr(NanotokenEngine, "encode", doctored)
        corpus = prepare(folder / "docs.txt", folder / "wordpiece", tmp_path / "slow", workers=1)
    assert corpus.manifest["provenance"]["engine"].startswith("tokenizers ")
    assert "differs from the tokenizers library" in capsys.readouterr().err
    monkeypatch.setattr(engine_choice, "first_difference", None)  # not tried again
    stream, choice = choose_engine(iter(DOCUMENTS), load_backend(folder / "wordpiece"))
    assert not choice.fast and choice.note and list(stream) == DOCUMENTS


def test_the_difference_names_the_text(folder, monkeypatch):
    encode = NanotokenEngine.encode

    def doctored(self, texts):
        ids, lengths = encode(self, texts)
        return np.where(ids == ids.max(), 5, ids), lengths

    monkeypatch.setattr(NanotokenEngine, "encode", doctored)
    _, choice = choose_engine(iter(DOCUMENTS), load_backend(folder / "wordpiece"))
    assert not choice.fast and "on \"don't [SEP]" in choice.note


def test_little_text_is_left_to_the_library_and_the_stream_stays_whole(folder, monkeypatch):
    backend = load_backend(folder / "wordpiece")
    stream, choice = choose_engine(iter(DOCUMENTS), backend)
    assert choice.fast and list(stream) == DOCUMENTS
    monkeypatch.setattr(engine_choice, "WORTH_CHARACTERS", 10**6)
    stream, choice = choose_engine(iter(DOCUMENTS), backend)
    assert not choice.fast and not choice.note and list(stream) == DOCUMENTS
