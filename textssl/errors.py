"""The one exception for mistakes in what the user gave, and how data is shown to the user."""

import re

# control characters but tab and line end, marks that turn the direction of writing, halves of surrogate pairs
_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(ValueError):
    """Something the user wrote or pointed at is wrong.

    The message is one sentence for a person: what is wrong, where (file, line, key), and what would be right.
    The command line prints it without a traceback and exits with code 2.
    """


def printable(text: object) -> str:
    """A text of the data as a terminal may show it: what would steer the terminal, or cannot be written, as `\\x1b`."""
    return _UNSHOWN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), str(text))
