"""The configurations that come with textssl, found by name: configs/ of the repository, packed into the wheel."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from textssl.errors import UserError, excerpt

PACKAGE = Path(__file__).resolve().parent
SUFFIXES = (".yaml", ".yml")


def repository() -> Path | None:
    """The source checkout that this code runs from; None where textssl was installed from a wheel."""
    root = PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() and (root / "configs").is_dir() else None


def config_folder() -> Path:
    """Where the named configurations are: the repository's own folder, so that a change there takes effect at once."""
    root = repository()
    return root / "configs" if root else PACKAGE / "configs"


def config_names() -> list[str]:
    return sorted(file.stem for file in config_folder().glob("*.yaml"))


def named_config(name: str) -> Path:
    """The file of a configuration that comes with textssl. Raises UserError with the nearest name, and all of them."""
    names = config_names()
    if name not in names:
        raise UserError(f"textssl has no configuration named {excerpt(name)}{suggestion(name, names)}")
    return config_folder() / f"{name}.yaml"


def find_config(given: str | Path) -> Path:
    """The file that a command's CONFIG means: a file that exists, else the configuration of that name.

    Only a bare name, without a folder or a suffix, is looked up. Raises UserError.
    """
    path, text, names = Path(given), str(given), config_names()
    if os.path.isfile(path):
        return path
    bare = path.name == text and path.suffix not in SUFFIXES
    if bare and text in names:
        return config_folder() / f"{text}.yaml"
    if os.path.isdir(path):
        raise UserError(f"the configuration {text} is a folder; give a file, such as {path / 'config.yaml'}")
    if bare:
        raise UserError(
            f"the configuration {excerpt(text)} does not exist, as a file here or among those that come with textssl"
            f"{suggestion(text, names)}"
        )
    advice = "`textssl configs list` shows those that come with textssl"
    if path.stem in names and path.suffix in SUFFIXES:
        advice = f"the one that comes with textssl is named {path.stem}, without folder and suffix"
    raise UserError(f"the configuration {text} does not exist; {advice}")


def suggestion(name: str, names: list[str]) -> str:
    """The tail of a message: the nearest name, if one is near, and all names."""
    near = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.6)
    return f"{f'; did you mean {near[0]}? There' if near else '; there'} are: {', '.join(names)}"
