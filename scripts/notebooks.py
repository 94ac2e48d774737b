"""Notebooks out of their sources: scripts/notebooks/NAME.py (percent format) -> notebooks/NAME.ipynb with its outputs.

python scripts/notebooks.py --write [NAME ...]    run the sources and store what they print and draw
python scripts/notebooks.py --check [NAME ...]    say which notebooks have other cells than their sources

Writing needs textssl's extra `notebooks`. A source is a plain script: `# %% [markdown]` begins a cell of text, each of
its lines behind a `#`; `# %%` begins a cell of code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "scripts" / "notebooks"
NOTEBOOKS = ROOT / "notebooks"
MARK = re.compile(r"^# %%(?P<text> \[markdown\])?\n", re.MULTILINE)
MOST_BYTES = 400_000  # of a notebook: it is read on the web and kept in the repository
TIMEOUT_SECONDS = 1200
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
WARNINGS = 'ignore:IProgress not found,ignore:install "ipywidgets"'  # of the reader's Jupyter, not of ours
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


class Cell(NamedTuple):
    """kind: markdown or code."""

    kind: str
    source: str


def parse(text: str) -> list[Cell]:
    """The cells of a source. Raises ValueError for text before the first mark, or a line of text without `#`."""
    marks = list(MARK.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        raise ValueError("a source begins with `# %% [markdown]` or `# %%`")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    cells = []
    for mark, end in zip(marks, ends, strict=True):
        body = text[mark.end() : end].strip("\n")
        if mark["text"] is None:
            cells.append(Cell("code", body))
            continue
        lines = body.splitlines()
        if not all(line.startswith("#") for line in lines):
            raise ValueError(f"a line of a markdown cell does not begin with #: {body[:60]!r}")
        cells.append(Cell("markdown", "\n".join(line[1:].removeprefix(" ") for line in lines)))
    return cells


def cells_of(notebook: dict[str, Any]) -> list[Cell]:
    """The cells of a stored notebook, without their outputs."""
    return [Cell(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def outdated(source: Path) -> str | None:
    """Why a notebook is not what its source makes; None where it is."""
    file = NOTEBOOKS / f"{source.stem}.ipynb"
    if not file.is_file():
        return f"{file.name} is missing"
    notebook = json.loads(file.read_text(encoding="utf-8"))
    if cells_of(notebook) != parse(source.read_text(encoding="utf-8")):
        return f"{file.name} has other cells than scripts/notebooks/{source.name}"
    if any(cell["cell_type"] == "code" and cell["execution_count"] is None for cell in notebook["cells"]):
        return f"{file.name} was not run to its end"
    size = file.stat().st_size
    return f"{file.name} has {size:,} bytes, more than {MOST_BYTES:,}" if size > MOST_BYTES else None


def write(source: Path) -> Path:
    """Run a source in a kernel of this Python, in a folder of its own, and store the notebook with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    make = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = parse(source.read_text(encoding="utf-8"))
    notebook = nbformat.v4.new_notebook(
        cells=[make[cell.kind](cell.source, id=f"cell-{place}") for place, cell in enumerate(cells)],
        metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}},
    )
    os.environ["PYTHONWARNINGS"] = WARNINGS  # the kernel inherits it
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=TIMEOUT_SECONDS, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    for cell in notebook.cells:
        cell.metadata.clear()  # times of execution, which differ from run to run
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
    nbformat.validate(notebook)
    file = NOTEBOOKS / f"{source.stem}.ipynb"
    file.parent.mkdir(exist_ok=True)
    aside = file.with_suffix(".writing")
    aside.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    os.replace(aside, file)
    return file


def joined(outputs: list[Any]) -> list[Any]:
    """Outputs with what is printed line by line as one text; pictures and tables keep their places."""
    import nbformat

    kept: list[Any] = []
    for output in outputs:
        text = printed(output)
        if text is None:
            kept.append(output)
        elif kept and printed(kept[-1]) is not None:
            kept[-1].text += text
        else:
            kept.append(nbformat.v4.new_output("stream", name="stdout", text=text))
    for output in kept:
        if output.output_type == "stream":
            # of a bar that was redrawn, only the last state stays
            output.text = re.sub(r"[^\n]*\r(?!\n)", "", output.text).strip("\n") + "\n"
    return [output for output in kept if output.output_type != "stream" or output.text.strip()]


def printed(output: Any) -> str | None:
    """The text of a stream, or of a line that rich shows, as a page shows it; None for anything else."""
    if output.output_type == "stream":
        text = output.text
    elif output.output_type == "display_data" and set(output.data) == {"text/html", "text/plain"}:
        text = output.data["text/plain"].rstrip("\n") + "\n"
    else:
        return None
    return COLOURS.sub("", text).replace(str(Path.home()), "~")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true")
    action.add_argument("--check", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    sources = sorted(SOURCES.glob("*.py"))
    unknown = set(given.names) - {source.stem for source in sources}
    if unknown:
        parser.error(f"no source {', '.join(sorted(unknown))}; there are {', '.join(s.stem for s in sources)}")
    chosen = [source for source in sources if not given.names or source.stem in given.names]
    if given.write:
        for source in chosen:
            print(f"{write(source).relative_to(ROOT)}", flush=True)
    faults = [fault for source in chosen if (fault := outdated(source))]
    if faults:
        sys.exit("\n".join([*faults, "write them anew: python scripts/notebooks.py --write"]))


if __name__ == "__main__":
    main()
