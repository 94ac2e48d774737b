"""Tables and texts as files of every format, sound or mutated, and what they hold by an independent reading."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
import zstandard

COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
WORDS = [
    "the",
    "boat",
    "crossed",
    "river",
    "at",
    "dawn",
    "prices",
    "rose",
    "again",
    "while",
    "snow",
    "fell",
    "over",
    "an",
    "old",
    "quiet",
    "harbour",
    "town",
]
ODD_TEXTS = (
    *(
        "",
        " ",
        "\t",
        "\u00a0",
        "\0",
        "a\0b",
        "\ud800",
        "a\udfffb",
        "a\nb",
        "a\r\nb",
        "a\rb",
        "a\n\nb",
        "\u2028",
        "\x85",
    ),
    *(
        'say "no", twice',
        '"',
        '""',
        "a,b",
        "a\tb",
        "=1+1",
        "[bold]x[/bold]",
        "[/]",
        "\x1b[31mred",
        "\u202eabc",
        "<script>",
    ),
    *("\ufeffmark", "NaN", "null", "true", "-", "'", "\\", "\\u0000", "caf\u00e9", "\U0001f600", "e\u0301", "x" * 5000),
)
HUGE = "1" * 400
ODD_VALUES = (
    *(None, True, False, 0, 1, -1, 1.5, -0.0, 1e15, 1e16, 1e300, 10**18, 10**30, 10**400, -(10**400), HUGE, f"-{HUGE}"),
    *(float("nan"), float("inf"), -float("inf"), "nan", "inf", "1e400", "1_000", " 1 ", "0x10", "\uff11\uff12", "1,5"),
    *([], ["a"], {}, {"text": "a"}, [[[["deep"]]]], "1", "2.0", "", " ", "pos", "neg", "POS"),
)
HEADERS = (
    "text",
    "label",
    "score",
    "text_a",
    "text_b",
    "negative",
    "negative_1",
    "",
    "Text",
    " text",
    "text ",
    "id",
    "x",
)
Row = dict[str, Any]


def sentence(rng: Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(2, 9)))


def text_of(rng: Random, odd: float) -> str:
    return rng.choice(ODD_TEXTS) if rng.random() < odd else sentence(rng)


def value_of(rng: Random, name: str, odd: float) -> Any:
    if rng.random() < odd:
        return rng.choice(ODD_VALUES)
    if name == "label":
        return rng.choice(("sea", "land", "air"))
    if name == "score":
        return rng.choice((0.0, 0.25, 0.5, 1.0))
    return text_of(rng, odd)


def rows_of(rng: Random, columns: Sequence[str], odd: float, count: int | None = None) -> list[Row]:
    """Records; of odd ones some lack a column or have another. odd: share of values that nobody expects."""
    rows = []
    for number in range(rng.choice((1, 2, 7, 30)) if count is None else count):
        row = {name: value_of(rng, name, odd) for name in columns}
        if odd == 0:  # so that sound data are, whatever is drawn: texts that differ, several classes and scores
            sound = {"label": ("sea", "land", "air")[number % 3], "score": (0.0, 0.25, 0.5, 1.0)[number % 4]}
            row = {name: sound.get(name, f"{value} {number}") for name, value in row.items()}
        if rng.random() < odd / 2:
            row.pop(rng.choice(list(row)), None)
        if rng.random() < odd / 2:
            row[rng.choice(HEADERS)] = value_of(rng, "x", odd)
        rows.append(row)
    return rows


def jsonl_bytes(rng: Random, rows: Sequence[Row], odd: float) -> bytes:
    end = rng.choice(("\r\n", "\r", "\n\n", " \n")) if rng.random() < odd else "\n"
    lines = []
    for row in rows:
        line = json.dumps(row, ensure_ascii=rng.random() < 0.5)
        if rng.random() < odd / 4:
            line = rng.choice((
                *("[" * 100_000, "[" * 60 + "]" * 60, "nul", "[]", "7", '"text"', f"[{line}]", f"{line},", line * 2),
                *('{"text": "a", "text": "b"}', f'{{"text": {HUGE}}}', '{"text": 1e999}', "{}", "//", '{"text": "a"'),
            ))  # fmt: skip
        lines.append(line)
    return (end.join(lines) + end * (rng.random() < 0.7)).encode("utf-8", "surrogatepass")


def csv_bytes(rng: Random, rows: Sequence[Row], odd: float) -> bytes:
    header = list(dict.fromkeys(name for row in rows for name in row)) or ["text"]
    stream = io.StringIO()
    quoting = csv.QUOTE_ALL if rng.random() < 0.5 else csv.QUOTE_MINIMAL
    end = rng.choice(("\r\n", "\n", "\r")) if rng.random() < odd else "\n"
    delimiter = rng.choice(";\t|") if rng.random() < odd / 4 else ","
    writer = csv.writer(stream, quoting=quoting, lineterminator=end, delimiter=delimiter)
    shown = [*header, rng.choice(header)] if rng.random() < odd / 4 else header
    writer.writerow(shown)
    for row in rows:
        cells = ["" if row.get(name) is None else str(row.get(name)) for name in shown]
        if rng.random() < odd / 3:
            cells = rng.choice((cells[:-1], [*cells, "more"], [], [*cells, ""], ['"', *cells[1:]]))
        writer.writerow(cells)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def parquet_bytes(rng: Random, rows: Sequence[Row], odd: float) -> bytes:
    """A table whose columns have one type each, as Arrow wants; odd ones a type that nobody expects."""
    columns: dict[str, pyarrow.Array] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        columns[name] = column_of(rng, values, odd)
    names = list(columns)
    if names and rng.random() < odd / 4:
        names[-1] = names[0]
    stream = io.BytesIO()
    table = pyarrow.Table.from_arrays(list(columns.values()), names=names)
    codec = rng.choice(("snappy", "zstd", "gzip", "none"))
    pyarrow.parquet.write_table(table, stream, compression=codec, row_group_size=rng.choice((1, 5, 1000)))
    return stream.getvalue()


def column_of(rng: Random, values: list[Any], odd: float) -> pyarrow.Array:
    kinds = ["string", "large_string", "dictionary"]
    if rng.random() < odd:
        kinds = ["binary", "timestamp", "decimal", "list", "struct", "null", "bool", "broken", "date", "float", "int64"]
    kind = rng.choice(kinds)
    count = len(values)
    if kind not in ("string", "large_string", "dictionary", "binary", "broken"):
        return {
            "timestamp": lambda: pyarrow.array([2**50] * count, pyarrow.timestamp("ms")),
            "date": lambda: pyarrow.array([2**31 - 1] * count, pyarrow.int32()).cast(pyarrow.date32()),
            "decimal": lambda: pyarrow.array([1] * count, pyarrow.decimal128(5)),
            "list": lambda: pyarrow.array([["a"]] * count),
            "struct": lambda: pyarrow.array([{"a": 1}] * count),
            "null": lambda: pyarrow.nulls(count),
            "bool": lambda: pyarrow.array([True] * count),
            "float": lambda: pyarrow.array([rng.choice((0.0, 1.0, float("nan"), 1e300))] * count),
            "int64": lambda: pyarrow.array([rng.choice((0, 1, 2**62))] * count),
        }[kind]()
    if all(isinstance(value, float | None) for value in values):
        return pyarrow.array(values, pyarrow.float64())
    raw = [None if value is None else str(value).encode("utf-8", "surrogatepass") for value in values]
    if kind == "broken":
        raw = [b"\xff\xfe" if rng.random() < 0.3 else value for value in raw]
    array = pyarrow.array(raw, pyarrow.binary())
    if kind == "binary":
        return array
    array = pyarrow.StringArray.from_buffers(count, array.buffers()[1], array.buffers()[2], array.buffers()[0])
    if kind == "dictionary":
        return array.dictionary_encode()
    return array.cast(pyarrow.large_string()) if kind == "large_string" and kind != "broken" else array


def text_bytes(rng: Random, rows: Sequence[Row], odd: float) -> bytes:
    end = rng.choice(("\r\n", "\r", "\n")) if rng.random() < odd else "\n"
    gap = end * rng.choice((1, 2, 3)) + rng.choice(("", " ", "\t")) * (rng.random() < odd) + end
    return gap.join(str(next(iter(row.values()), "")) for row in rows).encode("utf-8", "surrogatepass")


SERIALIZE = {".jsonl": jsonl_bytes, ".csv": csv_bytes, ".parquet": parquet_bytes, ".txt": text_bytes}


def mutated(rng: Random, raw: bytes) -> bytes:
    """Bytes with one thing changed that a disk, an editor or a copy changes."""
    change = rng.randrange(12)
    place = rng.randrange(len(raw) + 1)
    if change == 0:
        return raw[:place]
    if change == 1 and raw:
        place = min(place, len(raw) - 1)
        return raw[:place] + bytes([raw[place] ^ (1 << rng.randrange(8))]) + raw[place + 1 :]
    if change == 2:
        return (
            raw[:place] + rng.choice((b"\0", b"\0" * 512, b"\xff", b"\xed\xa0\x80", b"\r", b"\n", b'"')) + raw[place:]
        )
    if change == 3:
        return codecs.BOM_UTF8 + raw
    if change == 4:
        text = raw.decode("utf-8", "replace")
        return text.encode(rng.choice(("utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-8-sig")))
    if change == 5:
        return raw.decode("utf-8", "replace").encode("latin-1", "replace")
    if change == 6:
        return raw.replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\r", b"\x0b")))
    if change == 7:
        return raw + raw[place:]
    if change == 8:
        return rng.choice((b"", b"\n", b"\0" * 100, b"\xff\xfe", b"\xfe\xff\0", codecs.BOM_UTF8, b'"', b"{", b"PAR1"))
    if change == 9:
        return raw[:place] + rng.randbytes(rng.randint(1, 20)) + raw[place:]
    if change == 10:
        return raw[place:]
    return raw.replace(b",", rng.choice((b";", b"\t", b",,")), rng.randint(1, 5))


def write_file(rng: Random, folder: Path, columns: Sequence[str], odd: float, suffixes: Sequence[str]) -> Made:
    """A file of random format and compression. odd: 0 gives a sound one."""
    suffix = rng.choice(suffixes)
    rows = rows_of(rng, columns, odd, 40 if odd == 0 else None)
    raw = SERIALIZE[suffix](rng, rows, odd)
    changes = rng.choice((0, 1, 1, 2)) if odd else 0
    for _ in range(changes):
        raw = mutated(rng, raw)
    squeezed, intact = "", True
    whole = raw
    if rng.random() < 0.3 and suffix != ".parquet":
        squeezed = rng.choice(list(COMPRESS))
        whole = COMPRESS[squeezed](raw)
        if odd and rng.random() < 0.5:
            whole, intact = mutated(rng, whole), False
    path = folder / f"input{suffix}{squeezed}"
    path.write_bytes(whole)
    return Made(path, raw, suffix, intact)


class Made:
    """A file, the bytes in it without compression, and whether the compressed bytes are as they were made."""

    def __init__(self, path: Path, raw: bytes, suffix: str, intact: bool) -> None:
        self.path, self.raw, self.suffix, self.intact = path, raw, suffix, intact

    def __str__(self) -> str:
        return f"{self.path.name} {self.raw[:300]!r}{'...' if len(self.raw) > 300 else ''}"


def read_independently(made: Made) -> list[Row | None] | None:
    """The records of a table by other means, None for each that is broken; None where they cannot tell."""
    if not made.intact:
        return None
    if made.suffix == ".parquet":
        return parquet_rows(made.raw)
    lines = lines_of(made.raw)
    if lines is None:
        return None
    return jsonl_rows(lines) if made.suffix == ".jsonl" else csv_rows(lines)


def lines_of(raw: bytes) -> list[bytes] | None:
    for mark, encoding in (
        *((codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be")),
        *((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    ):
        if raw.startswith(mark):
            try:
                raw = raw[len(mark) :].decode(encoding).encode()
            except UnicodeError:
                return None
            break
    if len(re.findall(rb"\r(?!\n)", raw.removesuffix(b"\r"))) > raw.count(b"\n"):
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = [line.removesuffix(b"\r") for line in raw.split(b"\n")]
    lines = lines if lines[-1] else lines[:-1]
    return [line.removeprefix(codecs.BOM_UTF8) if place == 0 else line for place, line in enumerate(lines)]


def jsonl_rows(lines: Sequence[bytes]) -> list[Row | None]:
    rows: list[Row | None] = []
    for line in lines:
        if not line.strip():
            continue
        try:
            value = None if b"\0" in line else json.loads(line.decode())
        except (ValueError, RecursionError):
            value = None
        rows.append(value if isinstance(value, dict) else None)
    return rows


def csv_rows(lines: Sequence[bytes]) -> list[Row | None] | None:
    ended = False

    def feed():
        nonlocal ended
        for line in lines:
            yield line.decode("utf-8", "surrogateescape") + "\n"
        ended = True

    csv.field_size_limit(2**28)
    reader, header, rows = csv.reader(feed()), None, []
    while not ended:
        try:
            row = next(reader)
        except StopIteration:
            break
        except csv.Error:
            rows.append(None)
            continue
        if ended:
            rows.append(None)  # an open quote took everything to the end
        elif not row:
            continue
        elif header is None:
            header = row
        elif any("\0" in cell or re.search("[\ud800-\udfff]", cell) for cell in row) or len(row) > len(header):
            rows.append(None)
        else:
            rows.append(dict(zip(header, row, strict=False)))
    return rows


def parquet_rows(raw: bytes) -> list[Row | None] | None:
    try:
        table = pyarrow.parquet.read_table(io.BytesIO(raw))
        rows = []
        for place in range(table.num_rows):
            values = [column[place].as_py() for column in table.columns]
            rows.append(dict(zip(table.column_names, values, strict=True)))
        return rows
    except Exception:  # of the many kinds that it raises, none tells what a sound reader would say
        return None


def usable(value: Any) -> bool:
    """Whether a value is a text to learn from."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeError:
            return False
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return False
    return not re.search("[\ud800-\udfff]", value)


def plain(value: Any) -> Any:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:  # no text
        return None
