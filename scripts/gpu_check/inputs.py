"""What the parts read: a tokenizer, a corpus, labelled texts, pairs and a suite, made once from the samples."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from textssl.commands.prepare import prepare
from textssl.commands.tokenizer import train_tokenizer
from textssl.data.samples.cache import sample_path

VOCABULARY = 50_368  # of the configurations whose memory and cost are worked out; a dry run has 1,000
ARTICLES = {True: 150, False: 3_781}  # of sample:news, by dry
LABELLED = {True: 160, False: 1_000}

SUITE = """\
draws: 2
tasks:
  - {{name: topics, kind: classification, path: {folder}/labelled.jsonl, shots: [4]}}
  - {{name: text, kind: language, path: {folder}/held-out.jsonl}}
"""


def make(folder: Path, dry: bool) -> None:
    """Fill FOLDER with text.jsonl, tokenizer, corpus, {held-out,labelled,scored,pairs}.jsonl and suite.yaml."""
    folder.mkdir(parents=True, exist_ok=True)
    articles = records("sample:news")[: ARTICLES[dry]]
    write(folder / "text.jsonl", articles)
    write(
        folder / "held-out.jsonl", [{"text": one["text"][:500]} for one in records("sample:bbc")[:: 400 if dry else 50]]
    )
    train_tokenizer(input=[folder / "text.jsonl"], out=folder / "tokenizer", vocab_size=1_000 if dry else VOCABULARY)
    prepare(input=[folder / "text.jsonl"], tokenizer=folder / "tokenizer", out=folder / "corpus", held_out=0.05)
    labelled = records("sample:bbc")
    write(folder / "labelled.jsonl", labelled[:: max(1, len(labelled) // LABELLED[dry])])
    write(folder / "scored.jsonl", records("sample:sts/dev")[: LABELLED[dry]])
    write(folder / "pairs.jsonl", neighbours(articles))
    (folder / "suite.yaml").write_text(SUITE.format(folder=folder), encoding="utf-8")


def neighbours(articles: list[dict]) -> list[dict]:
    """Lines of an article that follow each other, as pairs that belong together."""
    pairs = []
    for article in articles:
        lines = [line.strip() for line in article["text"].split(". ") if len(line) > 20]
        pairs += [{"text_a": left, "text_b": right} for left, right in itertools.pairwise(lines)]
    return pairs


def records(sample: str) -> list[dict]:
    return [json.loads(line) for line in Path(sample_path(sample)).read_text(encoding="utf-8").splitlines()]


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
