"""HTML pages that need no network: the template of a report, with the data for its script inside."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from textssl.system.files import write_text

DATA = "/*DATA*/"  # where a template's script takes its data


def write_page(path: Path, room: str, data: Any) -> None:
    """Write a page. room: the package that holds page.html. data: anything that JSON can express."""
    template = files(room).joinpath("page.html").read_text(encoding="utf-8")
    values = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    write_text(path, template.replace(DATA, values.replace("<", "\\u003c")))  # "</script>" in a text ends nothing
