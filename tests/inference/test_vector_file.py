"""An unfinished file of vectors is continued only where it holds what was written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from textssl.inference.vector_file import SUFFIXES, VectorWriter

ROWS = np.arange(24, dtype=np.float32).reshape(6, 4) / 32


def job(out, until, precision="float32"):
    """Rows of a job, given up after `until` of them."""
    with VectorWriter(out, width=4, precision=precision, settings={"model": "m"}) as writer:
        for row in range(writer.resumed, until):
            writer.add(ROWS[row : row + 1], [f"a.txt:{row}"], truncated=0, tokens=1)
        if until == len(ROWS):
            writer.finish()
    return writer


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_sound_job_goes_on(tmp_path, suffix):
    job(tmp_path / f"v{suffix}", 3)
    assert job(tmp_path / f"v{suffix}", 5).resumed == 3
    assert job(tmp_path / f"v{suffix}", 6).resumed == 5
    if suffix == ".npy":
        assert (np.load(tmp_path / "v.npy") == ROWS).all()


@pytest.mark.parametrize("name", ["progress.json", "vectors.npy", "ids.jsonl"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_damaged_one_starts_anew(tmp_path, suffix, name):
    out = tmp_path / f"v{suffix}"
    job(out, 3)
    file = tmp_path / f".{out.name}.partial" / name
    raw = bytearray(file.read_bytes())
    raw[-12] ^= 1
    file.write_bytes(raw)
    assert job(out, 6).resumed == 0
    if suffix == ".npy":
        assert (np.load(out) == ROWS).all()
        ids = [json.loads(line) for line in (tmp_path / "v.ids.jsonl").read_text().splitlines()]
        assert ids == [{"row": row, "source": f"a.txt:{row}"} for row in range(6)]


@pytest.mark.parametrize("left", ["[]", "7", "{}", '{"settings": 1, "progress": {}, "sha256": "x"}', "[" * 100_000, ""])
def test_progress_that_is_something_else_starts_anew(tmp_path, left):
    job(tmp_path / "v.npy", 3)
    (tmp_path / ".v.npy.partial" / "progress.json").write_text(left)
    assert job(tmp_path / "v.npy", 6).resumed == 0
