"""Latent semantic analysis: what a static table and the token vectors of a new transformer begin with."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from torch import nn

from textssl.models.lsa import lsa_table, start_with_lsa

WIDTH, USED, VOCABULARY = 8, 40, 50


@pytest.fixture(scope="module")
def counts() -> sparse.csr_matrix:
    """Two groups of twenty tokens; a document has tokens of one group alone, and ten tokens occur nowhere."""
    rng = np.random.default_rng(0)
    whole = np.zeros((VOCABULARY, 60))
    for document in range(60):
        first = 20 * (document % 2)
        np.add.at(whole[:, document], rng.integers(first, first + 20, 30), 1)
    return sparse.csr_matrix(whole)


@pytest.mark.parametrize("deviation, length", [(0.02, 1.0), (1.0, WIDTH**0.5)])
def test_token_vectors_take_the_rows_of_the_analysis(counts, deviation, length):
    embedding = nn.Embedding(VOCABULARY + 3, WIDTH)
    nn.init.normal_(embedding.weight, std=deviation)
    before = embedding.weight.detach().clone()
    start_with_lsa(embedding, counts, seed=3)
    after = embedding.weight.detach()
    assert torch.equal(after[USED:], before[USED:])  # what occurs nowhere, and what the tokenizer does not have
    own = after[:USED].square().sum(1).mean().sqrt().item()
    assert own == pytest.approx(length, rel=0.15 if deviation == 1.0 else 1e-5)
    directions = nn.functional.normalize(after[:USED], dim=1)
    wanted = nn.functional.normalize(torch.from_numpy(lsa_table(counts, WIDTH, 3))[:USED], dim=1)
    torch.testing.assert_close(directions, wanted)
    likeness = directions @ directions.T
    same, other = likeness[:20, :20].mean().item(), likeness[:20, 20:].mean().item()
    assert same > 0.3 + other  # words of the same documents


def test_a_single_document_says_nothing_of_words():
    table = lsa_table(sparse.csr_matrix(np.ones((6, 1))), 4, seed=0)
    assert table.shape == (6, 4) and np.isfinite(table).all() and table.std() > 0.1
