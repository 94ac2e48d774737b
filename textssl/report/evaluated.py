"""The results of `textssl evaluate` in a model's card."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textssl.data.samples.cache import cache_folder
from textssl.errors import UserError
from textssl.report.captions import legend
from textssl.report.card import CARD
from textssl.report.markdown import code, escape, from_rich
from textssl.report.paths import shown_values
from textssl.report.table import result_tables
from textssl.system.files import write_text

BEGIN, END = "<!-- textssl evaluate: begin -->", "<!-- textssl evaluate: end -->"
BEFORE = "\n## Limits\n"  # where the section goes in a card of ours; at the end of others


def add_evaluation(folder: str | Path, results: Mapping[str, Any], notes: Sequence[str] = ()) -> Path:
    """Put the tables of results into FOLDER/README.md, in place of those that an earlier evaluation left there.

    results: what `evaluate` returns and writes. notes: lines to set below the tables. Raises UserError where the card
    is not UTF-8 text, or one of the marks around the section is missing.
    """
    file, card = Path(folder) / CARD, check_card(Path(folder))
    section = f"{BEGIN}\n{evaluation_section(results, notes)}\n{END}"
    if BEGIN in card:
        before, _, rest = card.partition(BEGIN)
        return write_text(file, before + section + rest.partition(END)[2])
    if BEFORE in card:
        return write_text(file, card.replace(BEFORE, f"\n{section}\n{BEFORE}", 1))
    return write_text(file, f"{card.rstrip()}\n\n{section}\n")


def check_card(folder: Path) -> str:
    """The text of FOLDER/README.md, a title where there is none. Raises UserError as `add_evaluation` does."""
    file = folder / CARD
    try:
        card = file.read_text(encoding="utf-8") if file.is_file() else f"# {escape(folder.resolve().name)}\n"
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text, so no evaluation can be added to it") from None
    if (BEGIN in card or END in card) and END not in card.partition(BEGIN)[2]:
        raise UserError(f"{file} has only one of the lines {BEGIN} and {END}: put the other back, or remove both")
    return card


def check_own(model: str | Path, folder: Path) -> None:
    """Raise UserError where the folder of a model is not the user's own: a cached sample or a download."""
    if not Path(model).exists() or folder.resolve().is_relative_to(cache_folder().resolve()):
        raise UserError(
            f"--card writes into the model's folder, and {model} is none of yours: give a folder of your own"
        )


def evaluation_section(results: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """A heading, the command, a table for each task with the baselines, and the legend."""
    results = shown_values(dict(results))
    command = ["textssl", "evaluate", "--model", results["model"], "--suite", results["suite"]]
    command += ["--held-out", results["held_out"]] if results.get("held_out") else []
    command += ["--baselines"] if results.get("baselines") else []
    command += ["--against", results["against"]["model"]] if results.get("against") else []
    parts = [
        "## Evaluation",
        f"{code(shlex.join(command))}, on the weights with hash {results['weights_hash']}.",
        *(from_rich(table) for table in result_tables(results)),
        from_rich(legend(results)),
        *map(escape, notes),
    ]
    return "\n\n".join(parts)
