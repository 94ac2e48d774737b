"""A record of a table: its place and its fields."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from textssl.errors import UserError


class Record(NamedTuple):
    """One record of a table: where it is, its values, and the columns that its file (or JSON object) has."""

    place: str
    fields: Mapping[str, Any]
    columns: Collection[str]


def check_distinct(source: str, names: Sequence[str], columns: Sequence[str]) -> None:
    """UserError where several columns have the same one of the names asked for."""
    for name in columns:
        if (count := list(names).count(name)) > 1:
            raise UserError(f"{source}: {count} columns have the name {name}: rename or remove all but one")
