"""`textssl configs list`, `show` and `copy`: the configurations that come with textssl."""

from __future__ import annotations

import re
from pathlib import Path

from rich.table import Table

from textssl.errors import UserError
from textssl.named_configs import config_names, named_config
from textssl.system.files import check_output, write_text
from textssl.system.terminal import Terminal


def list_configs() -> list[dict[str, str]]:
    """Print every configuration by name, with the command that takes it and what it is; returns the rows."""
    rows = [describe(name) for name in config_names()]
    caption = "Give the name to its command, or copy the file to change it: textssl configs copy NAME"
    table = Table(title="Configurations", title_justify="left", caption=caption, caption_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("command", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    for row in rows:
        table.add_row(row["name"], f"textssl {row['command']}", row["what"])
    Terminal().print(table)
    return rows


def describe(name: str) -> dict[str, str]:
    """name, command and what: the first paragraph of the comment at the top of the file."""
    text = named_config(name).read_text(encoding="utf-8")
    lines = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    what = " ".join(lines[: lines.index("")] if "" in lines else lines)
    command = re.search(r"^# textssl (pretrain|finetune) ", text, re.M)
    return {"name": name, "command": command[1] if command else "pretrain", "what": what}


def show_config(name: str) -> str:
    """Print a configuration, comments included, and return its text. Raises UserError for an unknown name."""
    text = named_config(name).read_text(encoding="utf-8")
    print(text, end="")
    return text


def copy_config(name: str, out: str | Path | None = None) -> Path:
    """Copy a configuration into the current folder as NAME.yaml, or to `out`; returns the file.

    Raises UserError for an unknown name, and where the file exists, which may hold somebody's changes.
    """
    source = named_config(name)
    target = check_output(Path(out) if out is not None else Path(f"{name}.yaml"))
    if target.exists():
        raise UserError(f"{target} exists: name another file with --out, or remove it")
    write_text(target, source.read_text(encoding="utf-8"))
    command = describe(name)["command"]
    Terminal(soft_wrap=True).print(f"{target}: change it, then textssl {command} {target} ...")
    return target
