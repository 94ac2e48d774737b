"""The one exception for mistakes in what the user gave, and how data is shown to the user."""

import os
import re
from collections.abc import Iterable

# control characters but tab and line end, marks that turn the direction of writing, halves of surrogate pairs
_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(ValueError):
    """Something the user wrote or pointed at is wrong.

    The message is one sentence for a person: what is wrong, where (file, line, key), and what would be right.
    The command line prints it without a traceback and exits with code 2.
    """


class OutOfMemory(UserError):
    """This process has too little memory; others of the same run may go on, and wait for it."""


def words_of(error: UserError | OSError) -> str:
    """What an error says to a person; one of the operating system names the file."""
    if isinstance(error, UserError) or error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"


def printable(text: object) -> str:
    """A text of the data as a terminal may show it: what would steer the terminal, or cannot be written, as `\\x1b`."""
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(text))


def excerpt(value: object, most: int = 80) -> str:
    """A value of the data as a message quotes it, cut where it is long."""
    return shortened(repr(value), most)


def shortened(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def listed(names: Iterable[object], most: int = 20) -> str:
    """Names of the data, such as columns, as a message lists them: the first `most`, each cut where it is long."""
    every = [str(name) for name in names]
    shown = [name if len(name) <= 60 else f"{name[:57]}..." for name in every[:most]]
    return ", ".join([*shown, *([f"and {len(every) - most:,} more"] if len(every) > most else [])])
