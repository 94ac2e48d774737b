"""Write docs/tree.md: every file of the package with the first sentence of its docstring, room by room.

usage: python scripts/tree.py           prints the page
       python scripts/tree.py --write   puts it into docs/tree.md
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tree.md"
HEAD = """# The tree

Every file of the package with the first sentence of its docstring, so that the room for a change is found by reading.
`python scripts/tree.py --write` writes this page.
"""
BESIDE = [  # what stands beside the package, by hand
    ("configs/", "one YAML for each objective, and sizes for a GPU"),
    ("scripts/quickstart.sh", "install, then `textssl quickstart`"),
    ("scripts/test.sh", "formatting, linting, types, all tests"),
    ("scripts/install.sh", "make `.venv` with the tested set of packages"),
    ("scripts/verify.sh", "long campaigns: `list`, or a name"),
    ("scripts/verify/", "one file a campaign"),
    ("scripts/benchmark/", "speed beside transformers.Trainer and sentence-transformers"),
    ("scripts/gpu_check.sh", "train, check and measure on one GPU, or every part of that on the CPU"),
    ("scripts/gpu_check/", "its parts"),
    ("scripts/gpu_wheels.sh", "the packages that the check needs on a machine without a network"),
    ("scripts/notebooks/", "the sources of notebooks/"),
    ("scripts/notebooks.py", "run the sources and store the notebooks, or check them"),
    ("scripts/tree.py", "write this page"),
    ("scripts/reference.py", "write the pages on configuration keys and presets"),
    ("notebooks/", "a language model, a sentence encoder, a classifier from few labels, with pictures"),
    ("docs/", "these pages"),
    ("tests/", "mirrors textssl/"),
    ("pyproject.toml", "metadata, dependencies, settings of ruff, pyright and pytest"),
    ("constraints.txt", "the tested set of packages"),
    ("constraints-lowest.txt", "the lowest versions that pass"),
]


def first_sentence(path: Path) -> str:
    """The first sentence of a file's docstring, without the full stop; empty where there is none."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=[^.])\.(?:\s|$)", paragraph)[0]


def entry(path: str, name: str, sentence: str) -> str:
    return f"- [{name}](../{path}): {sentence}"


def room(folder: Path) -> list[str]:
    """The lines of a package: its sentence, its own files, then its rooms."""
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    lines = [f"\n## {folder.relative_to(ROOT)}/\n\n{first_sentence(folder / '__init__.py')}.\n"]
    lines += [entry(str(path.relative_to(ROOT)), path.name, first_sentence(path)) for path in files]
    for inner in sorted(path.parent for path in folder.glob("*/__init__.py")):
        lines += room(inner)
    return lines


def page() -> str:
    beside = [entry(name, name, sentence) for name, sentence in BESIDE]
    return "\n".join([HEAD.rstrip("\n"), *room(ROOT / "textssl"), "\n## Beside the package\n", *beside]) + "\n"


def main() -> None:
    if "--write" in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        print(page(), end="")


if __name__ == "__main__":
    main()
