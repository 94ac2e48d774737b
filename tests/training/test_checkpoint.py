"""Checkpoints in parts: which files a rank opens, and which it verifies."""

import json

import pytest
import torch
from safetensors.torch import save_file

from textssl.system.checksums import sha256_of
from textssl.training import checkpoint
from textssl.training.checkpoint import (
    MANIFEST,
    OPTIMIZER,
    STATE,
    TENSORS,
    WEIGHTS,
    Saved,
    newest_checkpoint,
    part_name,
)

PARTS, ROWS = 4, torch.arange(14.0).view(7, 2)  # of which parts have 2, 2, 2 and 1
WHOLE = torch.arange(6.0)


@pytest.fixture
def parted(tmp_path):
    """A checkpoint as four ranks write it."""
    for name in (WEIGHTS, OPTIMIZER):
        for part, rows in enumerate(ROWS.chunk(PARTS)):
            alone = {"whole": WHOLE, "number": torch.tensor(3.0)} if part == 0 else {}
            save_file({"rows": rows.contiguous(), **alone}, tmp_path / part_name(name, part, PARTS))
    about = {
        "rows": {"shape": [7, 2], "sharded": True},
        "whole": {"shape": [6], "sharded": False},
        "number": {"shape": [], "sharded": False},
    }
    (tmp_path / STATE).write_text("{}")
    (tmp_path / TENSORS).write_text(json.dumps({WEIGHTS: about, OPTIMIZER: about}))
    sums = {file.name: sha256_of(file) for file in sorted(tmp_path.iterdir())}
    (tmp_path / MANIFEST).write_text(json.dumps({"step": 1, "parts": PARTS, "sha256": sums}))
    return tmp_path


def test_any_rows_come_back_from_any_parts(parted):
    saved = Saved(parted, WEIGHTS)
    for begin in range(8):
        for end in range(begin, 8):
            assert torch.equal(saved.read("rows", slice(begin, end)), ROWS[begin:end]), (begin, end)
    for begin, end in ((0, 6), (2, 5), (6, 6), (0, 0)):
        assert torch.equal(saved.read("whole", slice(begin, end)), WHOLE[begin:end])
    assert saved.read("number", slice(None)) == 3


def test_a_rank_opens_the_files_of_its_rows_alone(parted):
    for part in (1, 3):
        (parted / part_name(WEIGHTS, part, PARTS)).unlink()
    saved = Saved(parted, WEIGHTS)
    assert torch.equal(saved.read("rows", slice(4, 6)), ROWS[4:6])
    assert sorted(saved.opened) == [2]
    assert torch.equal(saved.read("whole", slice(2, 4)), WHOLE[2:4])
    assert sorted(saved.opened) == [0, 2]


@pytest.mark.parametrize("damaged", [*(part_name(WEIGHTS, part, PARTS) for part in range(PARTS)), STATE, TENSORS])
def test_each_file_is_verified_by_one_rank(parted, monkeypatch, damaged):
    assert checkpoint.broken(parted) is None
    (parted / damaged).write_bytes(b"something else")
    monkeypatch.setattr(checkpoint, "world_size", lambda: 3)
    found = []
    for rank in range(3):
        monkeypatch.setattr(checkpoint, "rank", lambda rank=rank: rank)
        found.append(checkpoint.damage(parted))
    assert [reason for reason in found if reason] == [f"{damaged} has another sha256 than its manifest says"]


@pytest.mark.parametrize("parts", [True, False])
def test_a_checkpoint_of_an_earlier_version_is_named_so(parted, parts):
    """The first ones did not say in how many parts they are."""
    manifest = json.loads((parted / MANIFEST).read_text())
    del manifest["sha256"][TENSORS]
    if not parts:
        del manifest["parts"]
    (parted / MANIFEST).write_text(json.dumps(manifest))
    assert checkpoint.broken(parted) == "an earlier version of textssl wrote it"


def test_a_rank_looks_for_checkpoints_where_it_sees_the_run(parted, monkeypatch):
    """The first rank may have the shared disk at another place."""
    folder = parted.parent / "checkpoints"
    folder.mkdir()
    parted.rename(folder / "step-00000001")
    elsewhere = parted.parent / "elsewhere"
    elsewhere.symlink_to(folder)
    assert newest_checkpoint(elsewhere) == elsewhere / "step-00000001"
    monkeypatch.setattr(checkpoint, "from_first_rank", lambda make: ["step-00000001"])
    assert newest_checkpoint(elsewhere) == elsewhere / "step-00000001"
