"""A cache of samples with few texts each: what reads them whole, or evaluates on them, takes a tenth of the time."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from tests.once import made_once
from textssl.data.samples.cache import cache_folder, sample_path
from textssl.system.checksums import sha256_of

KEPT = {"news": (400, 1), "bbc": (300, 7), "trec": (600, 8)}  # texts, each so many after the one before


def few_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for TEXTSSL_CACHE: some texts of KEPT, and the other samples as they are."""
    return made_once(tmp_path_factory, "few-samples", make)


def make(cache: Path) -> None:
    for sample in KEPT:
        sample_path(sample)  # fetched, where it is not there
    ready, few = cache_folder() / "samples", cache / "samples"
    few.mkdir()
    for folder in ready.iterdir():
        if folder.name not in KEPT:
            (few / folder.name).symlink_to(folder)
    for sample, (texts, step) in KEPT.items():
        (few / sample).mkdir()
        file = few / sample / f"{sample}.jsonl"
        with (ready / sample / file.name).open("rb") as lines:
            file.write_bytes(b"".join(islice(lines, 0, texts * step, step)))
        manifest = json.loads((ready / sample / "sample.json").read_text())
        manifest["files"] = {file.name: sha256_of(file)}
        (few / sample / "sample.json").write_text(json.dumps(manifest))
