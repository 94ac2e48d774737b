"""The frame of the command line: all commands in order, one run of one command, and what an error looks like."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import textssl
from textssl.cli import about, data, inference, train
from textssl.cli.arguments import spread
from textssl.errors import UserError, printable, words_of
from textssl.system import standard_streams
from textssl.system.files import NO_ROOM
from textssl.system.interrupts import ended_by_signals

WRONG_INPUT = 2

ORDER = (  # of `--help`: the way from text to a model, using it, then what is about textssl itself
    *("quickstart", "samples", "tokenizer", "prepare", "mine", "pretrain", "finetune", "evaluate", "compare"),
    *("embed", "predict", "generate", "fill-mask", "explore"),
    *("configs", "schema", "doctor"),
)


class InOrder(TyperGroup):
    """Lists the commands in the order in which a user meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="textssl",
    cls=InOrder,
    help="From raw text to a trained, exported, evaluated language model or sentence encoder. "
    "Every command is a Python function too: `textssl.prepare(...)`.",
    epilog="Start with `textssl quickstart`, or see what this machine has with `textssl doctor`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (data, train, inference, about):
    app.add_typer(part.app)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"textssl {textssl.__version__}")
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 2 wrong input or a disk that cannot be written, 75 stopped by a signal after
    saving, 128 + the signal's number (130 for Ctrl-C) where nothing had to be saved."""
    secured = standard_streams.secure()
    with ended_by_signals():
        try:
            run(arguments)
        except SystemExit as end:
            refused = standard_streams.refusals(secured)
            if refused and end.code in (0, None):
                fail(f"standard output cannot be written: {refused[0]}")
            raise


def run(arguments: list[str] | None) -> None:
    try:
        app(args=spread(sys.argv[1:] if arguments is None else arguments), prog_name="textssl")
    except UserError as error:
        fail(words_of(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) or (error.filename is None and error.errno not in NO_ROOM):
            raise
        fail(words_of(error))


def fail(message: str) -> NoReturn:
    typer.secho("error: ", fg=typer.colors.RED, err=True, nl=False)
    typer.echo(printable(message), err=True)
    sys.exit(WRONG_INPUT)
