"""Latent semantic analysis: token vectors from the documents that tokens occur in, within seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from sklearn.utils.extmath import randomized_svd

POWER = 0.25  # of the singular values: between all directions alike (0) and their own strength (1)


def lsa_table(counts: Any, width: int, seed: int) -> np.ndarray:
    """Left singular vectors of the TF-IDF matrix (Deerwester et al. 1990), times singular values to the power POWER.

    counts: (vocabulary, documents) sparse, how often each token occurs in each document. Returns (vocabulary, width)
    float32 with a mean square row length of 1 over the tokens that occur; tokens that do not, and directions beyond the
    number of documents, get random numbers of that size.
    """
    vocabulary, documents = counts.shape
    weighted = counts.astype(np.float32).tocsr()
    weighted.data = 1 + np.log(weighted.data)
    in_documents = np.diff(weighted.indptr)
    idf = np.log((1 + documents) / (1 + in_documents)).astype(np.float32)
    weighted = sparse.diags(idf) @ weighted
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(0)).ravel())
    weighted = weighted @ sparse.diags(1 / np.where(lengths > 0, lengths, 1))
    rank = min(width, vocabulary - 1, documents - 1)
    table = np.random.default_rng(seed).standard_normal((vocabulary, width), dtype=np.float32) * np.float32(width**-0.5)
    if rank < 1:
        return table
    left, values, _ = randomized_svd(weighted, rank, n_iter=2, n_oversamples=20, random_state=seed % 2**32)  # type: ignore[arg-type]
    found = left * values**POWER
    occurs = in_documents > 0
    found /= max(np.sqrt((found[occurs] ** 2).sum(1).mean()), 1e-12)
    table[occurs, :rank] = found[occurs]
    return table


@torch.no_grad()
def start_with_lsa(embedding: torch.nn.Module, counts: Any, seed: int) -> None:
    """The rows of a token embedding begin as those of `lsa_table`, in place; tokens that do not occur keep theirs.

    Their mean square length is 1, or that of the embedding where it is more: AdamW would soon write over shorter ones.
    counts: as in `lsa_table`; the embedding may have more tokens.
    """
    weight = embedding.get_parameter("weight")
    rows = torch.from_numpy(lsa_table(counts, weight.shape[1], seed))
    length = weight.float().square().sum(1).mean().sqrt().clamp(min=1.0)
    occurs = torch.from_numpy(counts.getnnz(axis=1) > 0)
    weight[: len(rows)][occurs] = (length * rows[occurs]).to(weight)
