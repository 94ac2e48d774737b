"""Token vectors from which tokens stand near which: a start for the embeddings of a language model, in seconds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sparse
import torch
from sklearn.utils.extmath import randomized_svd
from torch import nn

WINDOW = 2  # places to each side
DEVIATION = 0.1  # of the numbers in the table; at the 0.02 of random weights the optimizer's first steps wipe it out
AT_ONCE = 2**20  # tokens whose neighbours are counted together
SMOOTHING = 0.75  # power of the frequencies of neighbours


def neighbours(documents: Iterable[np.ndarray], size: int) -> sparse.csr_matrix:
    """(size, size) how often two tokens stand within WINDOW places of each other in one document, symmetric.

    documents: token ids of each, (tokens,).
    """
    counted = sparse.csr_matrix((size, size), dtype=np.float32)
    for ids, numbers in together(documents):
        for distance in range(1, WINDOW + 1):
            same = numbers[distance:] == numbers[:-distance]
            places = ids[:-distance][same], ids[distance:][same]
            ones = np.ones(len(places[0]), np.float32)
            counted = counted + sparse.csr_matrix((ones, places), shape=(size, size))
    return (counted + counted.T).tocsr()


def together(documents: Iterable[np.ndarray]) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """(ids, number of the document of each) of about AT_ONCE tokens a time; no document is cut."""
    held: list[np.ndarray] = []
    tokens = 0
    for document in documents:
        held.append(document)
        tokens += len(document)
        if tokens >= AT_ONCE:
            yield flat(held)
            held, tokens = [], 0
    if held:
        yield flat(held)


def flat(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(document) for document in documents]
    return np.concatenate(documents).astype(np.int64), np.repeat(np.arange(len(lengths)), lengths)


def ppmi_table(counts: sparse.csr_matrix, width: int, seed: int) -> np.ndarray:
    """Singular vectors of the positive pointwise mutual information, times the roots of the singular values.

    max(0, log p(a, b) / (p(a) p'(b))), p' from frequencies to the power SMOOTHING, factorised as in Levy, Goldberg
    and Dagan 2015 (doi:10.1162/tacl_a_00134). counts: from `neighbours`. Returns (vocabulary, width) float32 with a
    mean square row length of 1 over the tokens that have neighbours; the rows of others are zero, and so are columns
    beyond the rank.
    """
    total = np.asarray(counts.sum(1)).ravel()
    smoothed = total**SMOOTHING
    pairs = counts.tocoo()
    expected = total[pairs.row] * (smoothed / max(smoothed.sum(), 1e-12))[pairs.col]
    information = np.log(pairs.data / expected)
    kept = information > 0
    matrix = sparse.csr_matrix((information[kept], (pairs.row[kept], pairs.col[kept])), shape=counts.shape)
    table = np.zeros((counts.shape[0], width), np.float32)
    rank = min(width, counts.shape[0] - 1)
    if not matrix.nnz:
        return table
    left, values, _ = randomized_svd(matrix, rank, n_iter=3, n_oversamples=20, random_state=seed % 2**32)  # type: ignore[arg-type]
    found = left * np.sqrt(values)
    table[:, :rank] = found / np.sqrt((found[total > 0] ** 2).sum(1).mean())
    table[total == 0] = 0
    return table


@torch.no_grad()
def start_embeddings(embedding: nn.Embedding, table: np.ndarray) -> None:
    """Put the rows of `table` that are not zero into the embedding, in place, with numbers of size DEVIATION.

    table: from `ppmi_table`; tokens without neighbours, special ones among them, keep their random vectors.
    """
    rows = torch.from_numpy(table)
    known = rows.any(1).nonzero().squeeze(1)
    embedding.weight[known] = (rows[known] * DEVIATION * embedding.embedding_dim**0.5).to(embedding.weight)
