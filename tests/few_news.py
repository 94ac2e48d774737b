"""A cache of samples whose news are few articles: what reads them whole takes a tenth of the time."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from tests.once import made_once
from textssl.data.samples.cache import cache_folder, sample_path
from textssl.system.checksums import sha256_of

ARTICLES = 400


def few_news(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for TEXTSSL_CACHE: the first articles, and the other samples as they are."""
    return made_once(tmp_path_factory, "few-news", make)


def make(cache: Path) -> None:
    for sample in ("news", "bbc", "trec"):
        sample_path(sample)  # fetched, where it is not there
    ready = cache_folder() / "samples"
    (cache / "samples" / "news").mkdir(parents=True)
    for folder in ready.iterdir():
        if folder.name != "news":
            (cache / "samples" / folder.name).symlink_to(folder)
    news = cache / "samples" / "news" / "news.jsonl"
    with (ready / "news" / news.name).open("rb") as file:
        news.write_bytes(b"".join(islice(file, ARTICLES)))
    manifest = json.loads((ready / "news" / "sample.json").read_text())
    manifest["files"] = {news.name: sha256_of(news)}
    (news.parent / "sample.json").write_text(json.dumps(manifest))
