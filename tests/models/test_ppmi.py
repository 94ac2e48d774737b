"""Token vectors from neighbours: counts against a loop, factors against a dense decomposition, what they start."""

import numpy as np
import pytest
import torch
from torch import nn

from textssl.models import ppmi
from textssl.models.ppmi import DEVIATION, SMOOTHING, WINDOW, neighbours, ppmi_table, start_embeddings

SIZE = 12


def documents(seed: int = 0) -> list[np.ndarray]:
    """Of 0 to 9 tokens; the last two of the vocabulary never occur."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, SIZE - 2, length).astype(np.uint16) for length in rng.integers(0, 10, 40)]


@pytest.mark.parametrize("at_once", [1, 17, 2**20])
def test_neighbours_stand_in_the_same_document_within_the_window(at_once, monkeypatch):
    monkeypatch.setattr(ppmi, "AT_ONCE", at_once)
    expected = np.zeros((SIZE, SIZE))
    for ids in documents():
        for one, other in np.ndindex(len(ids), len(ids)):
            expected[ids[one], ids[other]] += 0 < abs(one - other) <= WINDOW
    assert (neighbours(documents(), SIZE).toarray() == expected).all()
    assert neighbours([], SIZE).nnz == 0


def test_vectors_are_the_singular_vectors_of_the_positive_information():
    counts = neighbours(documents(), SIZE).toarray()
    joint, own = counts / counts.sum(), counts.sum(1) / counts.sum()
    smoothed = own**SMOOTHING / (own**SMOOTHING).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.nan_to_num(np.maximum(0, np.log(joint / np.outer(own, smoothed))), posinf=0)
    left, values, _ = np.linalg.svd(information)
    expected = (left * values) @ left.T  # what the directions of equal vectors leave open is gone
    expected /= np.trace(expected) / (SIZE - 2)
    found = ppmi_table(neighbours(documents(), SIZE), SIZE - 1, seed=0)
    assert found.dtype == np.float32 and np.allclose(found @ found.T, expected, atol=1e-5)
    assert np.square(found).sum(1)[:-2].mean() == pytest.approx(1, rel=1e-5) and not found[-2:].any()


def test_columns_beyond_the_rank_are_zero_and_no_text_gives_no_vectors():
    wide = ppmi_table(neighbours(documents(), SIZE), 20, seed=0)
    assert wide.shape == (SIZE, 20) and not wide[:, SIZE:].any() and wide[:, 0].any()
    assert not ppmi_table(neighbours([], SIZE), 4, seed=0).any()


def test_tokens_without_neighbours_keep_their_random_vectors():
    torch.manual_seed(0)
    embedding = nn.Embedding(SIZE + 4, 16)  # larger than the tokenizer
    before = embedding.weight.detach().clone()
    start_embeddings(embedding, ppmi_table(neighbours(documents(), SIZE), 16, seed=0))
    assert torch.equal(embedding.weight[SIZE - 2 :], before[SIZE - 2 :])
    assert embedding.weight[: SIZE - 2].square().mean().sqrt().item() == pytest.approx(DEVIATION, rel=1e-5)
