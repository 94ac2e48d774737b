"""The arguments that commands share: their types, choices and help."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

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


Input = Annotated[
    list[str],
    typer.Option(
        metavar="PATH...",
        help="Files, folders or globs (.txt .jsonl .csv .parquet, also .gz .zst .bz2 .xz), sample:NAME, "
        "hf://owner/name[:config][@split]. Several after one --input, or --input repeated.",
    ),
]
TextColumn = Annotated[str, typer.Option(help="Column or key that holds the text, where a format has columns.")]
OneDocumentPer = Annotated[DocumentUnit, typer.Option(help="What separates documents in .txt files.")]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first broken record instead of counting it.")]
Model = Annotated[
    str, typer.Option(metavar="DIR", help="Model folder, run folder, sample:minilm, or a name on the hub.")
]


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
