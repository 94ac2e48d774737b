"""A score of a table as a number."""

from __future__ import annotations

import math
import re
from typing import Any

# Numbers as tables and JSON write them; Python would also read 1_000, nan and digits of other scripts.
_WRITTEN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)


def number_of(value: Any) -> float:
    """The number that a value is or, as a string, spells; nan for all else and for what no finite float holds."""
    if isinstance(value, bool) or (isinstance(value, str) and not _WRITTEN.fullmatch(value.strip())):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):  # a list; 400 digits
        return math.nan
    return number if math.isfinite(number) else math.nan
