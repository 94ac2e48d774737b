"""Exact duplicates by a shuffle on digests: the digests of every part, then for each range of them who came first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.dedup import DIGEST, digest
from textssl.data.corpus.stages.buckets import BucketWriter, gathered, ordered
from textssl.data.corpus.stages.job import Job, as_plain, write_marks
from textssl.data.text.documents import Document, DropReport, source_documents
from textssl.errors import UserError

READ, EXACT = "read", "exact"  # names of the stages
RUN_DOCUMENTS = 2**16  # whose digests are written together
DIGESTS_AT_ONCE = 2**22  # that a task compares, as far as there are enough ranges


def read_part(job: Job, part: int, folder: Path) -> dict[str, Any]:
    """Stage `read`: the digests of the documents of a source, and what was dropped while reading."""
    report, documents = DropReport(), 0
    whole = hashlib.sha256()
    digests: list[bytes] = []
    with ExitStack() as files:
        writer = BucketWriter(files, folder, "digests", DIGEST)

        def write_run() -> None:
            writer.add(np.array(digests, dtype=DIGEST), np.arange(documents - len(digests), documents))
            whole.update(b"".join(digests))
            digests.clear()

        for document in part_documents(job, part, report):
            digests.append(digest(document.text.encode()))
            documents += 1
            if len(digests) == RUN_DOCUMENTS:
                write_run()
        write_run()
        writer.close()
    return {"documents": documents, "digests": whole.hexdigest(), "report": as_plain(report)}


def part_documents(job: Job, part: int, report: DropReport) -> Iterator[Document]:
    drop = report.recorder(job.strict)
    return source_documents(job.sources[part], job.text_column, job.one_document_per, drop)


def compare_digests(job: Job, first: int, stop: int, folder: Path) -> dict[str, Any]:
    """Stage `exact`: of the documents with a digest in these buckets, all but the first of each digest."""
    parts = [job.place(READ, part) for part in range(len(job.sources))]
    keys, owners, numbers = gathered(parts, "digests", first, stop, DIGEST)
    order, again = ordered(keys)
    duplicates = order[again]
    write_marks(folder, owners[duplicates], numbers[duplicates], len(job.sources))
    return {"duplicates": len(duplicates)}


class KnownDuplicates:
    """Which documents of a part are new, in the place of SeenDigests. numbers: of those that are not, ascending."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers, self.documents, self.whole = numbers, 0, hashlib.sha256()

    def add(self, digests: Sequence[bytes]) -> list[bool]:
        """Whether each of the next documents is new."""
        first = self.documents
        self.documents += len(digests)
        self.whole.update(b"".join(digests))
        low, high = np.searchsorted(self.numbers, [first, self.documents])
        new = np.ones(len(digests), dtype=bool)
        new[self.numbers[low:high] - first] = False
        return new.tolist()

    def check(self, documents: int, digests: str, source: str) -> None:
        """UserError where the source has other documents than when its digests were taken. digests: their SHA-256."""
        if (self.documents, self.whole.hexdigest()) != (documents, digests):
            raise UserError(f"{source} was changed while it was prepared: start again")
