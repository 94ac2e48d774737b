"""Write the README's tree: every file of the package with the first sentence of its docstring.

usage: python scripts/tree.py           prints the tree
       python scripts/tree.py --write   puts it into README.md
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 120
BESIDE = [  # what stands beside the package, by hand
    ("configs/", "one YAML for each objective, and sizes for a GPU"),
    ("scripts/", ""),
    ("  quickstart.sh", "install, then `textssl quickstart`"),
    ("  test.sh", "formatting, linting, types, all tests"),
    ("  verify.sh", "long campaigns: list, or NAME"),
    ("  verify/", "one file a campaign"),
    ("  gpu_check.sh", "train, check and measure on one GPU, or every part of that on the CPU"),
    ("  gpu_wheels.sh", "what that needs on a machine without a network"),
    ("  gpu_check/", "its parts"),
    ("  benchmark/", "against transformers.Trainer and sentence-transformers"),
    ("  notebooks/", "the sources of notebooks/"),
    ("  notebooks.py", "run the sources and store the notebooks, or check them"),
    ("  install.sh", "make .venv with the tested set of packages"),
    ("  tree.py", "write this tree"),
    ("notebooks/", "a language model, a sentence encoder, a classifier from few labels, with pictures"),
    ("docs/", "all commands, recipes"),
    ("tests/", "mirrors textssl/"),
    ("pyproject.toml", "metadata, dependencies, settings of ruff, pyright and pytest"),
    ("constraints.txt", "the tested set of packages; constraints-lowest.txt: the lowest that pass"),
]


def first_sentence(path: Path) -> str:
    """What a file says of itself, without the full stop; empty where it says nothing."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.partition("\n\n")[0].split())
    return re.split(r"(?<=[^.])\.(?:\s|$)", paragraph)[0].replace("`", "")


def rows(folder: Path, depth: int) -> list[tuple[str, str]]:
    """(indented name, sentence) of a package: its own files first, then its rooms."""
    files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
    rooms = sorted(path.parent for path in folder.glob("*/__init__.py"))
    found = [("  " * depth + folder.name + "/", first_sentence(folder / "__init__.py"))]
    found += [("  " * (depth + 1) + path.name, first_sentence(path)) for path in files]
    return found + [row for room in rooms for row in rows(room, depth + 1)]


def tree() -> str:
    lines = []
    for name, sentence in rows(ROOT / "textssl", 0) + [row for row in BESIDE if (ROOT / place(row[0])).exists()]:
        line = f"{name:<23} {sentence}".rstrip()  # a space also behind a long name
        lines.append(line if len(line) <= WIDTH else line[: WIDTH - 4].rsplit(" ", 1)[0].rstrip(",;:") + " ...")
    return "\n".join(lines)


def place(name: str) -> str:
    return f"scripts/{name.strip()}" if name.startswith(" ") else name


def main() -> None:
    if "--write" not in sys.argv:
        print(tree())
        return
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, after = re.split(r"(?<=^## The tree\n\n```text\n).*?(?=^```)", text, maxsplit=1, flags=re.DOTALL | re.M)
    readme.write_text(f"{before}{tree()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
