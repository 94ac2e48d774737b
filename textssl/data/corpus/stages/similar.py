"""Near-duplicates by a shuffle on bands: who shares a band, which groups that makes, and the verdicts in each group.

Documents without a band in common, directly or through others, never meet. So the groups are independent, and the
verdicts within one are those of `NearDuplicates` on its documents in the order of the corpus.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.cleaning.near_duplicates import Match, NearDuplicates
from textssl.data.corpus.cleaning.shingles import Shingled
from textssl.data.corpus.prepare import likeness
from textssl.data.corpus.stages.buckets import gathered, ordered
from textssl.data.corpus.stages.encoded import ENCODE, Part
from textssl.data.corpus.stages.job import Job, mapped, write_marks
from textssl.data.text.drops import PLACES_KEPT

SHARED, GROUPS, SIMILAR, DROPPED = "shared", "groups", "similar", "dropped"  # names of the stages
BANDS_AT_ONCE = 2**24  # that a task compares, as far as there are enough ranges
SUSPECTS_A_TASK = 2**16
SUSPECTS_AT_ONCE = 512


def compare_bands(job: Job, first: int, stop: int, starts: list[int], folder: Path) -> dict[str, Any]:
    """Stage `shared`: a forest over the documents that share a band of these buckets.

    starts: (parts + 1,) the first document of each part, counted over the whole corpus.
    """
    parts = [job.place(ENCODE, part) for part in range(len(job.sources))]
    keys, owners, numbers = gathered(parts, "bands", first, stop, np.dtype(np.uint64))
    order, again = ordered(keys)
    documents = np.array(starts, dtype=np.int64)[owners[order]] + numbers[order]
    firsts = documents[np.maximum.accumulate(np.where(again, 0, np.arange(len(documents))))]
    forest = reduced(np.column_stack([firsts[again], documents[again]]))
    np.save(folder / "forest.npy", forest)
    return {"edges": len(forest)}


def reduced(edges: np.ndarray) -> np.ndarray:
    """(documents, 2) an edge from the first document of each connected group to each other one. edges: (edges, 2)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(edges):
        return np.zeros((0, 2), np.int64)
    documents, ends = np.unique(edges, return_inverse=True)
    ends = ends.reshape(-1, 2)
    matrix = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(documents),) * 2)
    _, labels = connected_components(matrix, directed=False)
    _, firsts = np.unique(labels, return_index=True)  # documents are ascending, so this is the earliest of each group
    roots = documents[firsts[labels]]
    return np.column_stack([roots, documents])[roots != documents]


def join_groups(job: Job, ranges: int, folder: Path) -> dict[str, Any]:
    """Stage `groups`: all documents that share a band with another, group by group. ranges: tasks of `shared`.

    The groups are dealt out in runs of about SUSPECTS_A_TASK documents; memory is some 100 bytes a document.
    """
    forest = np.zeros((0, 2), np.int64)
    for index in range(ranges):
        forest = reduced(np.concatenate([forest, np.load(job.place(SHARED, index) / "forest.npy")]))
    roots = np.unique(forest[:, 0])
    suspects = np.concatenate([np.column_stack([roots, roots]), forest])  # (suspects, 2) group, document
    suspects = suspects[np.lexsort((suspects[:, 1], suspects[:, 0]))]
    begins = np.append(np.flatnonzero(np.diff(suspects[:, 0], prepend=-1)), len(suspects))  # of each group, and the end
    bounds = [0]
    while bounds[-1] < len(suspects):
        wanted = min(bounds[-1] + SUSPECTS_A_TASK, len(suspects))
        bounds.append(int(begins[np.searchsorted(begins, wanted)]))
    np.save(folder / "suspects.npy", suspects[:, 1])
    return {"suspects": len(suspects), "bounds": bounds}


def judge_groups(job: Job, first: int, stop: int, starts: list[int], folder: Path) -> dict[str, Any]:
    """Stage `similar`: the near-duplicates among suspects `first` to `stop`, which are whole groups."""
    assert job.cleaning.near_duplicates is not None
    suspects = np.array(mapped(job.place(GROUPS, 0) / "suspects.npy")[first:stop])
    owners = np.searchsorted(np.array(starts), suspects, side="right") - 1
    numbers = suspects - np.array(starts)[owners]
    dropped: list[int] = []
    examples: list[tuple[int, str, str]] = []  # document, source, what it is like
    tokens = 0
    with NearDuplicates(folder, job.cleaning.near_duplicates) as near:
        for begin in range(0, len(suspects), SUSPECTS_AT_ONCE):
            chosen = slice(begin, begin + SUSPECTS_AT_ONCE)
            rows = list(zip(owners[chosen].tolist(), numbers[chosen].tolist(), strict=True))
            sources = [Part(job.place(ENCODE, owner)).text("sources", number) for owner, number in rows]
            matches = near.add(shingled_of(job, rows), sources)
            for index, match in enumerate(matches):
                if match is not None:
                    owner, number = rows[index]
                    dropped.append(begin + index)
                    tokens += int(Part(job.place(ENCODE, owner)).array("lengths")[number])
                    examples.append((int(suspects[begin + index]), sources[index], like(job, match, owner, number)))
            examples = sorted(examples)[:PLACES_KEPT]
        crowded = near.crowded
    write_marks(folder, owners[dropped], numbers[dropped], len(job.sources))
    return {"dropped": len(dropped), "tokens": tokens, "crowded": crowded, "examples": examples}


def gather_dropped(job: Job, judges: int, folder: Path) -> dict[str, Any]:
    """Stage `dropped`: the near-duplicates of all tasks of `similar`, by part, in the place of a file of each."""
    parts, numbers = [np.zeros(0, np.uint32)], [np.zeros(0, np.uint32)]
    for index in range(judges):
        place = job.place(SIMILAR, index)
        counts = np.diff(np.load(place / "bounds.npy"))
        parts.append(np.repeat(np.arange(len(counts), dtype=np.uint32), counts))
        numbers.append(np.load(place / "numbers.npy"))
    write_marks(folder, np.concatenate(parts), np.concatenate(numbers), len(job.sources))
    return {}


def shingled_of(job: Job, rows: list[tuple[int, int]]) -> Shingled:
    """What the near-duplicates of documents, (part, number) each, are found by, in the order given."""
    runs = groupby(rows, key=lambda row: row[0])
    found = [Part(job.place(ENCODE, owner)).shingled([number for _, number in run]) for owner, run in runs]
    return Shingled(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def like(job: Job, match: Match, owner: int, number: int) -> str:
    return likeness(match, Part(job.place(ENCODE, owner)).text("shown", number))
