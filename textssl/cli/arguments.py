"""What commands share: the types, choices and help of their arguments, and how they reach their functions."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import textssl
from textssl.system.files import expanded
from textssl.system.interrupts import STOPPED
from textssl.system.progress import working

PATHS = ("input", "model", "out", "tokenizer", "corpus", "pairs", "suite", "held_out", "against", "config")
SEVERAL_VALUES = ("--input",)  # options that take `--input a b c` as well as `--input a --input b --input c`


class Algorithm(StrEnum):
    bpe = "bpe"
    wordpiece = "wordpiece"
    unigram = "unigram"


class Normalization(StrEnum):
    NFC = "NFC"
    NFKC = "NFKC"
    NFD = "NFD"
    NFKD = "NFKD"
    none = "none"


class DocumentUnit(StrEnum):
    blank_line = "blank-line"
    line = "line"
    file = "file"


class PairUnit(StrEnum):
    sentences = "sentences"
    passages = "passages"


class Precision(StrEnum):
    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


class Compute(StrEnum):
    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class EngineName(StrEnum):
    local = "local"
    ray = "ray"


ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML file, or a name of `textssl configs list`, such as crops.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY.SUB=VALUE", help="Any key of the file; the value is YAML.")
]
Input = Annotated[
    list[str],
    typer.Option(
        metavar="PATH...",
        help="Files, folders or globs (.txt .jsonl .csv .parquet, also .gz .zst .bz2 .xz), URLs (http, s3, gs), "
        "sample:NAME, hf://owner/name[:config][@split]. Several after one --input, or --input repeated.",
    ),
]
TextColumn = Annotated[str, typer.Option(help="Column or key that holds the text, where a format has columns.")]
OneDocumentPer = Annotated[DocumentUnit, typer.Option(help="What separates documents in .txt files.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first broken record instead of counting it.")]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Compute threads; default: OMP_NUM_THREADS, else as many as there are cores."
    ),
]
Engine = Annotated[EngineName, typer.Option(help="Who works: processes of this machine, or a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Of a Ray cluster: auto, host:port or ray://host:port; default: one on this machine for the time being.",
    ),
]
Model = Annotated[
    str, typer.Option(metavar="DIR", help="Model folder, run folder, sample:minilm, or a name on the hub.")
]


def call(function: str, arguments: dict[str, Any]) -> Any:
    """Run `textssl.FUNCTION` (which imports what it needs now) with the arguments of the command of that name."""
    arguments = {name: home(value) if name in PATHS else value for name, value in arguments.items()}
    choices = {name: value.value for name, value in arguments.items() if isinstance(value, StrEnum)}
    plain = {name: None if value == Normalization.none.value else value for name, value in choices.items()}
    with working(f"textssl {function.replace('_', ' ')}", bar=False):  # importing what it needs is work as well
        return getattr(textssl, function)(**{**arguments, **plain})


def home(value: Any) -> Any:
    """A path, or several, with `~` expanded to the home folder, as shells do not in `--out=~/x`. Raises UserError."""
    if isinstance(value, list):
        return [home(one) for one in value]
    return type(value)(expanded(value)) if isinstance(value, str | Path) else value


def finish(result: Any) -> None:
    """End a command that trains; `stopped_by` is the name of the signal that ended it early, if one did."""
    raise typer.Exit(STOPPED if result.stopped_by else 0)


def spread(arguments: list[str]) -> list[str]:
    """`--input a b --out c` as `--input a --input b --out c`, since an option takes one value in typer.

    A value that begins with a dash ends the list; write ./-name for such a file.
    """
    spreaded: list[str] = []
    option = None  # the option whose further values are being read
    for place, argument in enumerate(arguments):
        if argument == "--":
            return spreaded + arguments[place:]
        if argument.startswith("-") and argument != "-":
            name, equals, _ = argument.partition("=")
            option = name if name in SEVERAL_VALUES else None
            waiting = option is not None and not equals  # the option itself is still to get its first value
        elif option is not None:
            if not waiting:
                spreaded.append(option)
            waiting = False
        spreaded.append(argument)
    return spreaded
