"""Arrays written piece by piece are those that numpy reads."""

import hashlib

import numpy as np
import pytest

from textssl.data.corpus.shards import Described, NpyStream, Shard, open_shard
from textssl.errors import UserError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_pieces_are_one_array_with_the_digest_of_its_file(tmp_path, dtype):
    path = tmp_path / "a.npy"
    stream = NpyStream(path, np.dtype(dtype))
    pieces = [np.arange(3), np.zeros(0, int), np.arange(250)[::-1][::5]]
    for piece in pieces:
        stream.write(piece)
    digest = stream.close()
    read = np.load(path)
    assert read.dtype == dtype and read.tolist() == np.concatenate(pieces).tolist()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_bounds_are_where_documents_begin_and_the_last_one_ends():
    shard = Shard(np.zeros(9, np.uint16), np.zeros(9, np.uint8), np.array([[0, 1], [4, 1], [6, 1]]))
    assert shard.bounds(0, 3).tolist() == [0, 4, 6, 9]
    assert shard.bounds(1, 2).tolist() == [4, 6]
    assert shard.bounds(2, 3).tolist() == [6, 9]


def test_a_shard_that_cannot_be_read_is_named(tmp_path):
    for kind in ("tokens", "marks"):
        np.save(tmp_path / f"{kind}-00000.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"shard 0 of .* cannot be read .*documents-00000"):
        open_shard(str(tmp_path), 0, Described(3, 1, ""))
