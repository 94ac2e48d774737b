"""What was dropped, why and where; nothing is skipped without being counted."""

from collections import Counter
from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from textssl.errors import UserError, printable

INVALID_UTF8 = "invalid UTF-8"
NUL_BYTE = "NUL byte"
MISSING_COLUMN = "missing column"
MISSING_LABEL = "missing label"
MISSING_SCORE = "missing score"
EMPTY_TEXT = "empty text"
NO_TOKENS = "no tokens"
NOT_A_STRING = "text not a string"
NOT_A_NUMBER = "score not a number, or above 1e15"
INVALID_JSON = "invalid JSON"
INVALID_CSV = "invalid CSV"
MORE_FIELDS = "more fields than the header"
UNCLOSED_QUOTE = "unclosed quote"
TOO_LARGE = "record too large"
OUT_OF_RANGE = "value that cannot be read"
TRUNCATED = "truncated file"
DAMAGED = "damaged file"
EMPTY_FILE = "empty file"
UNKNOWN_SUFFIX = "file of unknown suffix"  # this and the next: in a folder, never read
HIDDEN = "hidden file or folder"

PLACES_KEPT = 5

# (reason, place, detail): counts the record, or raises UserError where the caller is strict
Drop = Callable[[str, str, str], None]


class DropReport:
    """Counts by reason, with the first few places of each as `file:line` (`file#row` for parquet)."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.places: dict[str, list[str]] = {}

    def add(self, reason: str, place: str, detail: str = "") -> None:
        """Count one dropped record (or file), and keep its place if it is among the first of its reason."""
        self.counts[reason] += 1
        places = self.places.setdefault(reason, [])
        if len(places) < PLACES_KEPT:
            places.append(printable(f"{place} ({detail})" if detail else place))

    def merge(self, other: "DropReport") -> None:
        """Add the counts of another report, made by another worker from later input."""
        self.counts.update(other.counts)
        for reason, places in other.places.items():
            self.places[reason] = (self.places.get(reason, []) + places)[:PLACES_KEPT]

    def take(self) -> "DropReport":
        """What was added since the last call; this report is empty then."""
        taken = DropReport()
        taken.counts, self.counts = self.counts, taken.counts
        taken.places, self.places = self.places, taken.places
        return taken

    def recorder(self, strict: bool) -> Drop:
        """A function that counts each drop here; with `strict` it raises UserError with the place instead."""

        def drop(reason: str, place: str, detail: str = "") -> None:
            if strict:
                raise UserError(f"{place}: {reason}{f' ({detail})' if detail else ''}; without --strict it is dropped")
            self.add(reason, place, detail)

        return drop

    @property
    def total(self) -> int:
        """Records and files dropped, all reasons together."""
        return self.counts.total()

    def as_dict(self) -> dict[str, int]:
        """Counts by reason, in the order of the reasons' names."""
        return dict(sorted(self.counts.items()))

    def examples(self) -> dict[str, list[str]]:
        """The first few places of each reason, with their details, in the order of the reasons' names."""
        return dict(sorted(self.places.items()))

    def summary(self) -> str:
        """One line: each reason with its count and its first place."""
        return "; ".join(f"{reason}: {count:,}, first {self.places[reason][0]}" for reason, count in self._ranked())

    def table(self) -> Table:
        """Reasons, counts and first places, the most frequent first."""
        table = Table(title="Dropped records")
        table.add_column("reason")
        table.add_column("count", justify="right")
        table.add_column("first places", overflow="fold")
        for reason, count in self._ranked():
            table.add_row(reason, f"{count:,}", Text(printable("\n".join(self.places[reason]))))
        return table

    def _ranked(self) -> list[tuple[str, int]]:
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
