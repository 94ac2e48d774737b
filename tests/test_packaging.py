"""What is packed and required: configurations and types are in the wheel, and no extra holds what no code uses."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOWEST = (ROOT / "constraints-lowest.txt").read_text()
MODULES = {"lm-eval": "lm_eval", "scikit-learn": "sklearn", "PyYAML": "yaml"}
PROGRAMS = {"pytest-xdist", "ruff", "pyright", "pre-commit"}  # run by scripts/test.sh and by git, not imported
TOLD_BY_NAME = {"ipykernel": 'kernel_name="python3"'}  # what a script asks for instead of an import


def split(requirement: str) -> tuple[str, str]:
    """`torch>=2.11,<3` as ("torch", ">=2.11,<3"); extras that a requirement names are left out."""
    name, rest = re.match(r"([\w.-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
    return name, rest


def used_modules() -> Iterator[str]:
    """Top-level modules that the package, its scripts or its tests import, or look for with find_spec."""
    for file in (file for room in ("textssl", "scripts", "tests") for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.split(".")[0]
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("find_spec"):
                yield from (str(one.value) for one in node.args if isinstance(one, ast.Constant))


def test_every_requirement_is_used_by_code():
    project = PYPROJECT["project"]
    wanted = {split(one)[0] for extra in project["optional-dependencies"].values() for one in extra} - {"textssl"}
    wanted |= {split(one)[0] for one in project["dependencies"]}
    modules = set(used_modules())
    scripts = "\n".join(file.read_text() for file in (ROOT / "scripts").rglob("*.py"))
    unused = {
        name
        for name in wanted - PROGRAMS
        if MODULES.get(name, name.replace("-", "_")) not in modules
        and not (name in TOLD_BY_NAME and TOLD_BY_NAME[name] in scripts)
    }
    assert not unused


def test_lower_bounds_are_those_that_the_lowest_set_proves():
    pinned = dict(re.findall(r"^([\w-]+)==([\d.]+)$", LOWEST, re.M))
    required = dict(map(split, PYPROJECT["project"]["dependencies"])) | {
        name: rest for name, rest in map(split, PYPROJECT["project"]["optional-dependencies"]["track"])
    }
    for name, ranged in required.items():
        lowest = re.search(r">=([\d.]+)", ranged)
        assert lowest, f"{name} has no lower bound"
        if name != "torch":  # older ones are built for GPUs: `scripts/test.sh --lowest --torch 2.11.0`
            assert f"{pinned[name]}.".startswith(f"{lowest[1]}."), f"{name}: {pinned[name]} is no proof of {ranged}"


def test_the_wheel_has_the_configurations_and_the_types():
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["textssl"] and wheel["force-include"] == {"configs": "textssl/configs"}
    assert (ROOT / "textssl" / "py.typed").is_file()
    assert not (ROOT / "textssl" / "configs").exists()  # one source: configs/ at the top


def test_every_python_that_is_allowed_is_named():
    project = PYPROJECT["project"]
    named = [one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert named == ["3.11", "3.12", "3.13", "3.14"] and project["requires-python"] == f">={named[0]}"
