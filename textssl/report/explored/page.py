"""The map of `textssl explore` as one HTML page that needs no network."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from textssl.system.files import write_text

DATA = "/*DATA*/"


def write_page(path: Path, found: dict[str, Any]) -> None:
    """found: what `textssl explore` writes as explore.json."""
    template = files("textssl.report.explored").joinpath("page.html").read_text(encoding="utf-8")
    values = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    write_text(path, template.replace(DATA, values.replace("<", "\\u003c")))  # "</script>" in a text ends nothing
