"""Paths as others may read them: names of files and folders, never places on the machine that made a model."""

from __future__ import annotations

import os
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from textssl.data.samples.cache import PREFIX, cache_folder


def shown(path: str | Path) -> str:
    """A path by its last name where it leads out of the working folder, else as it is.

    `sample:news` and `hf://owner/name` stay; a file of a cached sample is called by the sample's name.
    """
    text = str(path)
    if text.startswith(PREFIX) or "://" in text:
        return text
    samples = cache_folder() / "samples"
    if Path(text).is_relative_to(samples) and Path(text) != samples:
        return PREFIX + Path(text).relative_to(samples).parts[0]
    windows = PureWindowsPath(text)
    pure: PurePath = windows if windows.drive else PurePath(text)
    if os.path.isabs(text) or windows.drive or text.startswith("~") or ".." in pure.parts:
        return pure.name or "folder"
    return text


def shown_values(value: Any) -> Any:
    """Plain nested values with every string that leads out of the working folder shortened."""
    if isinstance(value, dict):
        return {key: shown_values(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [shown_values(part) for part in value]
    return shown(value) if isinstance(value, str) else value
