"""The floors of the house: what may import what, and how large a file may grow. Read from the source, nothing runs."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
parse = functools.cache(ast.parse)  # nobody changes the tree
SOURCES = sorted((ROOT / "textssl").rglob("*.py"))
MAX_LINES = 300
TOP_LEVEL = {
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "constraints-lowest.txt", "constraints.txt"),
    *("configs", "docs", "notebooks", "pyproject.toml", "scripts", "tests", "textssl"),
}

FLOORS = [  # top to bottom; a file imports from the floors below its own, and from its own room
    {"__main__"},
    {"cli"},
    {"commands"},
    {"assembly"},
    {"training", "report"},
    {"evaluation"},
    {"inference", "objectives"},
    {"models", "data"},
    {"views", "losses", "tokenizer"},
    {"row_batches"},
    {"sharding", "failing_ranks"},
    {"distributed", "config", "batch"},
    {"sample_types"},
    {"sections", "yaml_reader", "named_configs", "explanations"},
    {"section_base"},
    {"__init__"},  # the package itself: the version, and names that load when asked for
    {"system"},
    {"errors"},
]
DATA_FLOORS = [
    {"batches"},
    {"labelled"},
    {"plan"},
    {"corpus"},
    {"text"},
    {"language"},
    {"samples"},
    {"keyed_random"},
]  # in data/
EVALUATION_FLOORS = [{"measure"}, {"suite"}, {"tasks"}, {"figures"}]  # in evaluation/, whose other files are anywhere
MOST_MODULES = 14  # of a folder, but for those that hold one entry a file
CATALOGUES = {"objectives", "commands"}
LEVEL = {room: len(FLOORS) - place for place, rooms in enumerate(FLOORS) for room in rooms}

NEVER = {  # beyond the floors: room -> what it must not see
    "objectives": {"textssl.data"},  # a pretext task sees batches, not files
    "evaluation": {"textssl.objectives"},  # sees texts -> vectors, or ids -> log-probabilities
    "views": {"torch", "transformers"},  # pure numpy, for the loader's workers
}
HEAVY = {  # what `textssl --help` must not wait for
    *("torch", "transformers", "tokenizers", "datasets", "accelerate", "sentence_transformers"),
    *("sklearn", "scipy", "pandas", "pyarrow", "numpy"),
}
LIGHT_FILES = (
    *("cli/app.py", "cli/data.py", "cli/train.py", "cli/inference.py", "cli/about.py", "cli/arguments.py"),
    *("__main__.py", "config.py", "named_configs.py", "sections.py", "section_base.py", "explanations.py", "errors.py"),
    *(
        f"system/{name}.py"
        for name in ("files", "interrupts", "locks/lock", "locks/holder", "progress", "standard_streams", "exchange")
    ),
    *("yaml_reader.py", "evaluation/suite_file.py", "__init__.py", "system/call_arguments.py", "commands/__init__.py"),
)


def room_of(module: str) -> str:
    """textssl.training.optimizer -> training; textssl -> __init__."""
    return [*module.split("."), "__init__"][1]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(tree: ast.AST, top_level: bool = False) -> Iterator[tuple[str, int]]:
    """(module, line) of every import; `from a import b` gives a.b. Blocks for type checkers do not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports from the root, not relative ones"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
        elif not type_checking(node) and not (top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from imports(node, top_level)


def faults(module: str, source: str) -> list[str]:
    """What a file imports that its floor does not allow."""
    room, found = room_of(module), []
    for name, line in imports(parse(source)):
        if name.split(".")[0] == "textssl":
            target = room_of(name) if room_of(name) in LEVEL else "__init__"  # `from textssl import __version__`
            if target != room and LEVEL[target] >= LEVEL[room]:
                found.append(f"{module}:{line} ({room}) imports {name}, which is not on a floor below")
            if room == "training" and target == "objectives" and not name.startswith("textssl.objectives.base"):
                found.append(f"{module}:{line} imports {name}; training knows objectives.base alone")
        if any(name == banned or name.startswith(f"{banned}.") for banned in NEVER.get(room, ())):
            found.append(f"{module}:{line} imports {name}, which {room} must not see")
    return found


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_imports_go_only_downward(path: Path):
    module = module_of(path)
    assert room_of(module) in LEVEL, f"{module} is on no floor: add it to FLOORS, or find it a room"
    assert not faults(module, path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=ids)
def test_file_is_small_and_says_what_it_is(path: Path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_LINES, f"{path} is too long to be read at once: split it"
    assert ast.get_docstring(parse(source)), f"{path} has no docstring in its first line"
    assert path.stem not in {"utils", "util", "common", "misc", "helpers"}, f"{path} has a name that says nothing"


def code_lines(path: Path) -> int:
    """Lines of a file that are neither blank, nor a comment, nor in a docstring."""
    text = path.read_text(encoding="utf-8")
    documented = (
        node for node in ast.walk(parse(text)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    )
    first = (node.body[0] for node in documented if ast.get_docstring(node))
    skipped = {number for line in first for number in range(line.lineno, (line.end_lineno or line.lineno) + 1)}
    lines = enumerate(map(str.strip, text.splitlines()), 1)
    return sum(bool(line) and not line.startswith("#") and number not in skipped for number, line in lines)


def test_a_method_is_a_short_file():
    from textssl.objectives import OBJECTIVES

    sizes = sorted(code_lines(ROOT / "textssl" / "objectives" / f"{name}.py") for name in OBJECTIVES)
    assert sizes[-1] <= 120 and sizes[len(sizes) // 2] < 80, sizes


@pytest.mark.parametrize("name", LIGHT_FILES)
def test_light_files_import_nothing_heavy(name: str):
    tree = parse((ROOT / "textssl" / name).read_text(encoding="utf-8"))
    heavy = [f"{name}:{line} imports {module}" for module, line in imports(tree, True) if module.split(".")[0] in HEAVY]
    assert not heavy
    commands = [module for module, _ in imports(tree, True) if module.startswith("textssl.commands.")]
    assert not commands, f"{name} imports {commands} at its top; do it inside the function"


def graph() -> dict[str, set[str]]:
    """Every module with the modules of the package that it imports, inside functions too."""
    names = {module_of(path) for path in SOURCES}
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        module = module_of(path)
        wanted = {name for name, _ in imports(parse(path.read_text(encoding="utf-8")))}
        found[module] = {name if name in names else name.rpartition(".")[0] for name in wanted} & names - {module}
    return found


def circle(edges: dict[str, set[str]]) -> list[str]:
    """The nodes of one circle, or nothing."""
    left = {node: set(targets) for node, targets in edges.items()}
    while ends := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in ends:
            del left[node]
    node, way = next(iter(left), None), []
    while node is not None and node not in way:
        way.append(node)
        node = next(iter(left[node] & left.keys()))
    return way[way.index(node) :] if node is not None else []


def test_no_modules_import_each_other_in_a_circle():
    edges = graph()
    edges["textssl"] = set()  # the package loads commands when they are asked for
    assert not circle(edges)
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) in (["b", "c"], ["c", "b"])


@pytest.mark.parametrize(("package", "floors"), [("data", DATA_FLOORS), ("evaluation", EVALUATION_FLOORS)])
def test_rooms_inside_a_package_have_floors_too(package: str, floors: list[set[str]]):
    level = {room: len(floors) - place for place, rooms in enumerate(floors) for room in rooms}
    wrong = [
        f"{module} imports {target}"
        for module, targets in graph().items()
        for target in targets
        if all(name.startswith(f"textssl.{package}.") for name in (module, target))
        for here, there in [(module.split(".")[2], target.split(".")[2])]
        if here != there and level.get(there, 0) >= level.get(here, len(floors) + 1)
    ]
    assert not wrong


def test_nothing_else_lies_beside_the_folders_of_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout of git")
    found = {Path(file).parts[0] for file in listed.stdout.splitlines()}
    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL


def test_no_folder_holds_more_than_can_be_looked_through():
    folders = {path.parent for path in SOURCES}
    full = {
        str(folder.relative_to(ROOT)): count
        for folder in folders
        if folder.name not in CATALOGUES
        and (count := len([path for path in folder.glob("*.py") if path.name != "__init__.py"])) > MOST_MODULES
    }
    assert not full


@pytest.mark.parametrize(
    ("module", "line", "sound"),
    [
        ("textssl.training.trainer", "from textssl.objectives.base import Objective", True),
        ("textssl.training.trainer", "from textssl.objectives.mlm import MaskedLM", False),
        ("textssl.training.trainer", "from textssl.training.optimizer import Muon", True),
        ("textssl.training.trainer", "from textssl.report.page import write", False),
        ("textssl.objectives.mlm", "from textssl.data.corpus.corpus import Corpus", False),
        ("textssl.objectives.mlm", "def f():\n    import textssl.data.corpus.corpus", False),
        ("textssl.models.build", "from textssl.config import ModelConfig", True),
        ("textssl.models.build", "from textssl.data.plan.plan import Plan", False),
        ("textssl.losses", "from textssl.models.build import build_model", False),
        ("textssl.inference.features", "from textssl.evaluation.suite import Suite", False),
        ("textssl.views.masking", "import torch", False),
        ("textssl.views.masking", "import numpy as np", True),
        ("textssl.config", "from textssl.errors import UserError", True),
        ("textssl.errors", "from textssl import config", False),
        ("textssl.cli.app", "from textssl import __version__", True),
        ("textssl.data.corpus.corpus", "from textssl import __version__", True),
    ],
)
def test_the_floors_catch_what_they_should(module: str, line: str, sound: bool):
    assert (not faults(module, line)) == sound
