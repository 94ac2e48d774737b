"""Stage `encode`: the new documents of a part as tokens and marks, and what their near-duplicates are found by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.cleaning.filters import shown
from textssl.data.corpus.cleaning.shingles import Shingled
from textssl.data.corpus.dedup import digest
from textssl.data.corpus.pieces import Seen, count_duplicates, pieces
from textssl.data.corpus.prepare import Ready, ready_documents
from textssl.data.corpus.shards import NpyStream
from textssl.data.corpus.stages.buckets import BucketWriter
from textssl.data.corpus.stages.exact import EXACT, READ, KnownDuplicates, part_documents
from textssl.data.corpus.stages.job import Job, as_plain, finished, mapped, read_marks
from textssl.data.corpus.workers import Piece, Texts, Worked
from textssl.data.text.documents import DropReport
from textssl.data.text.formats import Lines

ENCODE = "encode"
RUN_BANDS = 2**20  # that are written together


def encode_part(job: Job, part: int, ranges: int, work: Callable[[list[str]], Worked], folder: Path) -> dict[str, Any]:
    """Encode the documents of a source that are no duplicates. ranges: tasks of the stage `exact`."""
    duplicates = read_marks([job.place(EXACT, index) for index in range(ranges)], part)
    seen, report = KnownDuplicates(duplicates), DropReport()
    documents = part_documents(job, part, DropReport())  # what is dropped here was counted by the stage `read`
    unique = (unique_piece(texts, seen, report) for texts, _ in pieces(documents, DropReport()))
    worked = ((piece, work(piece.texts), np.ones(len(piece.texts), dtype=bool)) for piece in unique)
    before = finished(job.place(READ, part))
    assert before is not None
    bands = 0
    with ExitStack() as files:
        near = NearWriter(files, folder) if job.cleaning.near_duplicates is not None else None
        writer = ReadyWriter(files, folder, np.dtype(job.dtype))
        for ready in ready_documents(worked, near.collect if near else None, report, lambda _: None):
            writer.add(ready)
        seen.check(before["documents"], before["digests"], job.sources[part])
        writer.close()
        bands = near.close() if near else 0
    return {
        "documents": writer.documents,
        "tokens": writer.tokens,
        "languages": list(writer.languages),
        "bands": bands,
        "report": as_plain(report),
    }


def unique_piece(texts: Texts | Lines, seen: Seen, report: DropReport) -> Piece:
    """The documents that are new; the others are counted."""
    assert isinstance(texts, Texts)
    encoded = [text.encode() for text in texts.texts]
    piece = Piece(*texts, list(map(digest, encoded)), list(map(len, encoded)))
    fresh = seen.add(piece.digests)
    count_duplicates(piece.sources, fresh, report)
    columns: list[list[Any]] = [list(compress(items, fresh)) for items in piece]
    return Piece(*columns)


class ReadyWriter:
    """Writes encoded documents into the folder of their part, one file an array of `Ready`."""

    def __init__(self, files: ExitStack, folder: Path, dtype: np.dtype) -> None:
        kinds = {"ids": dtype, "marks": np.uint8, "places": np.float64, "lengths": np.int64, "sizes": np.int64}
        kinds["languages"] = np.uint16
        streams = {name: NpyStream(folder / f"{name}.npy", np.dtype(kind)) for name, kind in kinds.items()}
        self.files = {name: files.enter_context(stream) for name, stream in streams.items()}
        self.languages: dict[str, int] = {}  # code -> number, by which it is stored
        self.documents = self.tokens = 0

    def add(self, ready: Ready) -> None:
        codes = [self.languages.setdefault(code, len(self.languages)) for code in ready.languages]
        for name, file in self.files.items():
            file.write(np.array(codes, np.uint16) if name == "languages" else getattr(ready, name))
        self.documents += len(ready.lengths)
        self.tokens += len(ready.ids)

    def close(self) -> None:
        for file in self.files.values():
            file.finish()


class NearWriter:
    """Writes what near-duplicates are found by, one row for each document that `ReadyWriter` gets."""

    def __init__(self, files: ExitStack, folder: Path) -> None:
        self.documents = self.rows = 0
        kinds = {"shingles": np.uint64, "bands": np.uint64, "counts": np.int64}
        streams = {name: NpyStream(folder / f"{name}.npy", np.dtype(kind)) for name, kind in kinds.items()}
        self.files = {name: files.enter_context(stream) for name, stream in streams.items()}
        self.texts = {name: TextWriter(files, folder, name) for name in ("sources", "shown")}
        self.buckets = BucketWriter(files, folder, "bands", np.dtype(np.uint64))
        self.waiting: list[tuple[np.ndarray, np.ndarray]] = []  # bands and their documents, for the next run

    def collect(self, piece: Piece, shingled: Shingled, wanted: np.ndarray) -> list[int]:
        """Remember the documents that are True in wanted; the verdicts come later, so none is dropped now."""
        kept = shingled.chosen(wanted)
        count, width = kept.bands.shape
        self.files["shingles"].write(kept.shingles)
        self.files["bands"].write(kept.bands.ravel())
        self.files["counts"].write(kept.counts)
        indices = np.flatnonzero(wanted).tolist()
        self.texts["sources"].add([piece.sources[index] for index in indices])
        self.texts["shown"].add([shown(piece.texts[index]) for index in indices])
        compared = kept.counts > 0
        numbers = self.documents + np.flatnonzero(compared)
        self.waiting.append((kept.bands[compared].ravel(), np.repeat(numbers, width)))
        self.documents += count
        if sum(len(bands) for bands, _ in self.waiting) >= RUN_BANDS:
            self._write_run()
        return []

    def _write_run(self) -> None:
        if self.waiting:
            bands, numbers = (np.concatenate(arrays) for arrays in zip(*self.waiting, strict=True))
            self.buckets.add(bands, numbers)
            self.rows += len(bands)
            self.waiting.clear()

    def close(self) -> int:
        """Finish the files; returns the number of bands under which documents are to be found."""
        self._write_run()
        self.buckets.close()
        for file in self.files.values():
            file.finish()
        for texts in self.texts.values():
            texts.close()
        return self.rows


class TextWriter:
    """Many short texts in one file, with their bounds in another."""

    def __init__(self, files: ExitStack, folder: Path, name: str) -> None:
        self.bytes = files.enter_context(NpyStream(folder / f"{name}.npy", np.dtype(np.uint8)))
        self.ends = files.enter_context(NpyStream(folder / f"{name}-ends.npy", np.dtype(np.int64)))

    def add(self, texts: Sequence[str]) -> None:
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        self.ends.write(self.bytes.length + np.cumsum([0, *map(len, encoded)])[1:])
        self.bytes.write(np.array(bytearray(b"".join(encoded)), dtype=np.uint8))

    def close(self) -> None:
        self.bytes.finish()
        self.ends.finish()


@dataclass(frozen=True)
class Part:
    """What the stage `encode` left of a part, memory-mapped."""

    folder: Path

    def array(self, name: str) -> np.ndarray:
        """`ids` or `marks` (tokens,); `places`, `lengths`, `sizes`, `languages` or `counts` (documents,)."""
        return mapped(self.folder / f"{name}.npy")

    def text(self, name: str, number: int) -> str:
        """`sources` or `shown` of a document."""
        ends = self.array(f"{name}-ends")
        first = ends[number - 1] if number else 0
        return self.array(name)[first : ends[number]].tobytes().decode("utf-8", "surrogateescape")

    def shingled(self, numbers: Sequence[int]) -> Shingled:
        """What the near-duplicates of these documents, ascending, are found by."""
        counts = self.array("counts")
        bands = self.array("bands").reshape(len(counts), -1) if len(counts) else np.zeros((0, 1), np.uint64)
        ends = shingle_ends(self.folder)
        rows = [self.array("shingles")[ends[number] - counts[number] : ends[number]] for number in numbers]
        return Shingled(counts[numbers], np.concatenate([np.zeros(0, np.uint64), *rows]), bands[numbers])


@lru_cache(maxsize=64)
def shingle_ends(folder: Path) -> np.ndarray:
    """(documents,) where the shingles of each end."""
    return np.cumsum(mapped(folder / "counts.npy"))


def forget_arrays() -> None:
    """Let go of the arrays of finished tasks that this process keeps, by the names of their files."""
    mapped.cache_clear()
    shingle_ends.cache_clear()
