"""Vectors on disk that appear whole or not at all, and whose writing can be resumed after an interruption.

While they are made, everything is in the side folder `.NAME.partial` beside the result:
  vectors.npy     the rows so far, after room for a header (float32, or float16 where that is the precision)
  ids.jsonl       one object a row: {"row": 0, "source": "notes.txt:1"}
  progress.json   settings of the job, how many bytes of each file are good, and their sha256; renamed into place after
                  each window

Bytes after the good ones were being written when a job was killed, and are cut off when it is resumed. A side folder
whose good bytes do not match their sha256 is emptied.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from json.encoder import encode_basestring as quoted
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet

from textssl.system.files import writing
from textssl.system.locks.lock import hold, lock_file

SUFFIXES = (".npy", ".parquet")
PRECISIONS = ("float32", "float16", "int8")
HEADER_BYTES = 128
ROWS_AT_ONCE = 16_384  # rows of a finished file that are converted at once
GROWING = ("vectors.npy", "ids.jsonl")
NO_PROGRESS = {"rows": 0, "truncated": 0, "tokens": 0, "id_bytes": 0}


def written_files(out: Path, precision: str) -> list[Path]:
    """The files that a finished job leaves: the vectors, then their companions."""
    out = behind_links(out)
    ids = [out.with_suffix(".ids.jsonl")] if out.suffix == ".npy" else []
    return [out, *ids, *([out.with_suffix(".scale.npy")] if precision == "int8" else [])]


def unfinished_settings(out: Path) -> dict[str, Any] | None:
    """The settings of the job that was interrupted before it finished `out`; None where there is none."""
    return whole_progress(side_folder(behind_links(out)))[0]


def behind_links(out: Path) -> Path:
    """The file that is written: `out`, or what it links to."""
    return Path(os.path.realpath(out)) if os.path.islink(out) else out


def side_folder(out: Path) -> Path:
    return out.parent / f".{out.name}.partial"


def whole_progress(side: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Settings and progress in a side folder; (None, None) where they are missing or damaged."""
    try:
        left = json.loads((side / "progress.json").read_text(encoding="utf-8"))
        whole = left["sha256"] == sum_of(left["settings"], left["progress"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None, None
    return (left["settings"], left["progress"]) if whole else (None, None)


class VectorWriter:
    """Writes the rows of one result file; `with` locks it against a second writer. Raises UserError.

    settings: what the rows depend on; a side folder of the same settings is continued, any other is emptied.
    `progress` counts rows (texts embedded), texts truncated and tokens; `resumed` is the number of rows that
    were there, `differing` the settings because of which an earlier job was given up.
    """

    def __init__(self, out: Path, *, width: int, precision: str, settings: dict[str, Any]) -> None:
        self.out = behind_links(out)
        self.width, self.precision, self.settings = width, precision, settings
        self.stored = np.dtype(np.float16 if precision == "float16" else np.float32)  # int8 waits for its scales
        self.side = side_folder(self.out)
        self.progress: dict[str, Any] = {**NO_PROGRESS, "largest": [0.0] * width}
        self.sums = {name: hashlib.sha256() for name in GROWING}
        self.differing: list[str] = []
        self.resumed = 0

    def __enter__(self) -> VectorWriter:
        self.lock = ExitStack()
        with ExitStack() as entering, writing(self.out, self.side):
            entering.enter_context(hold(lock_file(self.out), f"--out {self.out}", "--out"))
            self.side.mkdir(parents=True, exist_ok=True)
            self._take_up()
            self.vectors, self.ids = (self.side / "vectors.npy").open("r+b"), (self.side / "ids.jsonl").open("r+b")
            self.vectors.truncate(HEADER_BYTES + self.progress["rows"] * self.width * self.stored.itemsize)
            self.ids.truncate(self.progress["id_bytes"])
            for file in (self.vectors, self.ids):
                file.seek(0, os.SEEK_END)
            self.lock = entering.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            for file in (self.vectors, self.ids):
                with suppress(OSError):  # a full disk; the good bytes are known
                    file.close()
            if not self.progress["rows"] or (self.side / "done").exists():
                shutil.rmtree(self.side, ignore_errors=True)  # nothing in it is worth keeping

    def _take_up(self) -> None:
        """Continue what an earlier job with the same settings left, or begin an empty one."""
        before, progress = whole_progress(self.side)
        if progress is not None and before == self.settings and self._holds(progress):
            self.progress, self.resumed = progress, progress["rows"]
            return
        if before is not None:
            self.differing = [key for key in {**before, **self.settings} if before.get(key) != self.settings.get(key)]
        self.sums = {name: hashlib.sha256() for name in GROWING}
        (self.side / "progress.json").unlink(missing_ok=True)
        (self.side / "vectors.npy").write_bytes(b" " * HEADER_BYTES)
        (self.side / "ids.jsonl").write_bytes(b"")

    def _holds(self, progress: dict[str, Any]) -> bool:
        """Whether the files hold what the progress says; one killed while it renamed its results lacks some."""
        row_bytes = progress["rows"] * self.width * self.stored.itemsize
        parts = {"vectors.npy": (HEADER_BYTES, row_bytes), "ids.jsonl": (0, progress["id_bytes"])}
        for name, (start, size) in parts.items():
            try:
                self.sums[name] = sum_of_part(self.side / name, start, size)
            except OSError:
                return False
        return all(self.sums[name].hexdigest() == progress["sha256"][name] for name in GROWING)

    def add(self, vectors: np.ndarray, sources: Sequence[str], *, truncated: int, tokens: int) -> None:
        """Append rows (texts, width) float32 and the places of their texts; they are on disk when this returns."""
        assert vectors.shape == (len(sources), self.width)
        with writing(self.out, self.side):
            self._append(vectors, sources, truncated, tokens)

    def _append(self, vectors: np.ndarray, sources: Sequence[str], truncated: int, tokens: int) -> None:
        first = self.progress["rows"]
        rows = vectors.astype(self.stored, copy=False).tobytes()
        self.vectors.write(rows)
        # as json.dumps writes it, several times faster
        lines = [f'{{"row": {row}, "source": {quoted(source)}}}\n' for row, source in enumerate(sources, first)]
        places = "".join(lines).encode()
        self.ids.write(places)
        for name, written in zip(GROWING, (rows, places), strict=True):
            self.sums[name].update(written)
        for file in (self.vectors, self.ids):
            file.flush()
            os.fsync(file.fileno())
        largest = np.maximum(np.abs(vectors).max(axis=0, initial=0.0), np.float32(self.progress["largest"]))
        progress = {
            **self.progress,
            "rows": first + len(sources),
            "truncated": self.progress["truncated"] + truncated,
            "tokens": self.progress["tokens"] + tokens,
            "id_bytes": self.ids.tell(),
            "largest": [float(value) for value in largest],
            "sha256": {name: digest.hexdigest() for name, digest in self.sums.items()},
        }
        left = {"settings": self.settings, "progress": progress, "sha256": sum_of(self.settings, progress)}
        aside = self.side / "progress.json.new"
        aside.write_text(json.dumps(left), encoding="utf-8")
        os.replace(aside, self.side / "progress.json")
        self.progress = progress

    def finish(self) -> list[Path]:
        """Make the result from all rows and rename it into place, its companions first; returns the files written."""
        with writing(self.out, self.side):
            return self._finish()

    def _finish(self) -> list[Path]:
        self.vectors.flush()
        made: dict[Path, Path] = {}  # file in the side folder -> its place
        source = self.side / "vectors.npy"
        scale = None
        write_header(source, (self.progress["rows"], self.width), self.stored)
        if self.precision == "int8":
            scale = int8_scale(np.array(self.progress["largest"], dtype=np.float32))
            np.save(self.side / "scale.npy", scale)
            made[self.side / "scale.npy"] = self.out.with_suffix(".scale.npy")
        result = source
        if self.out.suffix == ".parquet":
            result = self.side / "result.parquet"
            self._write_parquet(result, scale)
        else:
            made[self.side / "ids.jsonl"] = self.out.with_suffix(".ids.jsonl")
            if scale is not None:
                result = self.side / "result.npy"
                self._write_int8(result, scale)
        made[result] = self.out
        for file, place in made.items():
            os.replace(file, place)
        (self.side / "done").touch()
        return list(made.values())

    def _pieces(self, scale: np.ndarray | None) -> Iterator[np.ndarray]:
        rows = np.load(self.side / "vectors.npy", mmap_mode="r") if self.progress["rows"] else []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            piece = np.asarray(rows[start : start + ROWS_AT_ONCE])
            yield piece if scale is None else to_int8(piece, scale)

    def _write_int8(self, file: Path, scale: np.ndarray) -> None:
        with file.open("wb") as stream:
            stream.write(b" " * HEADER_BYTES)
            for piece in self._pieces(scale):
                stream.write(piece.tobytes())
        write_header(file, (self.progress["rows"], self.width), np.dtype(np.int8))

    def _write_parquet(self, file: Path, scale: np.ndarray | None) -> None:
        kind = pyarrow.from_numpy_dtype(self.precision)
        facts = {"precision": self.precision, **self.settings}
        if scale is not None:
            facts["scale"] = [float(value) for value in scale]
        columns = {"id": pyarrow.int64(), "embedding": pyarrow.list_(kind, self.width), "source": pyarrow.string()}
        schema = pyarrow.schema(list(columns.items()), metadata={"textssl": json.dumps(facts)})
        first = 0
        with pyarrow.parquet.ParquetWriter(file, schema) as writer, (self.side / "ids.jsonl").open("rb") as ids:
            for piece in self._pieces(scale):
                sources = [json.loads(next(ids))["source"] for _ in range(len(piece))]
                values = pyarrow.array(np.ascontiguousarray(piece).reshape(-1), type=kind)
                embedding = pyarrow.FixedSizeListArray.from_arrays(values, self.width)
                row_ids = pyarrow.array(np.arange(first, first + len(piece)))
                writer.write_table(
                    pyarrow.Table.from_arrays([row_ids, embedding, pyarrow.array(sources)], schema=schema)
                )
                first += len(piece)


def sum_of(settings: dict[str, Any], progress: dict[str, Any]) -> str:
    """The sha256 by which a damaged progress.json is recognised."""
    return hashlib.sha256(json.dumps([settings, progress], sort_keys=True).encode()).hexdigest()


def sum_of_part(file: Path, start: int, size: int) -> Any:
    """A sha256 object, for updates, of `size` bytes of a file from `start` on."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        stream.seek(start)
        while piece := stream.read(min(size, 2**20)):
            digest.update(piece)
            size -= len(piece)
    return digest


def int8_scale(largest: np.ndarray) -> np.ndarray:
    """The value of one int8 step in each dimension, (width,) float32, from the largest absolute values (width,)."""
    return np.where(largest > 0, largest / 127, 1).astype(np.float32)


def to_int8(vectors: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(rows, width) float32 as int8, the nearest multiples of scale (width,); `values * scale` gives them back."""
    return np.clip(np.rint(vectors / scale), -127, 127).astype(np.int8)


def write_header(file: Path, shape: tuple[int, int], dtype: np.dtype) -> None:
    """Fill in the npy header (format 1.0, HEADER_BYTES long) of a file that left room for it."""
    fields = f"{{'descr': {np.lib.format.dtype_to_descr(dtype)!r}, 'fortran_order': False, 'shape': {shape}, }}"
    header = fields.ljust(HEADER_BYTES - 11) + "\n"
    with file.open("r+b") as stream:
        stream.write(np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header.encode("latin1"))
