"""The file of a suite, read and looked at before anything heavy is imported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from textssl.errors import UserError
from textssl.yaml_reader import read_yaml

NAMES = ("quick", "full", "tuned")  # of suites that need no file
KINDS = (
    *("classification", "similarity", "word_similarity", "clustering", "retrieval", "geometry"),
    *("language", "minimal_pairs", "lm_eval"),
)


def read_suite_file(suite: str | Path) -> dict[str, Any]:
    """What a suite's YAML file holds; a list of tasks alone becomes {"tasks": ...}.

    Raises UserError where it is no YAML file, or a task is of an unknown kind.
    """
    file = Path(suite)
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"--suite is {file}: it must be {', '.join(NAMES)} or a YAML file")
    if not os.path.isfile(file):
        raise UserError(f"there is no suite file {file}")
    values = read_yaml(file)
    if isinstance(values, list):
        values = {"tasks": values}
    if not isinstance(values, dict):
        raise UserError(f"{file} must hold tasks: [{{name: ..., path: ..., kind: {' | '.join(KINDS)}}}]")
    tasks = values.get("tasks")
    for place, task in enumerate(tasks if isinstance(tasks, list) else ()):
        kind = task.get("kind", KINDS[0]) if isinstance(task, dict) else KINDS[0]
        if not isinstance(kind, str) or kind not in KINDS:
            raise UserError(f"{file}: tasks.{place}.kind is {kind!r}; there is {', '.join(KINDS)}")
    return values


def check_suite(suite: str | Path) -> None:
    """Raise UserError for a suite that is neither a name nor a file that can be read."""
    if str(suite) not in NAMES:
        read_suite_file(suite)
