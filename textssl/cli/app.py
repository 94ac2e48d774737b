"""The command line: parse, call a workflow, print what went wrong. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import textssl
from textssl.cli.arguments import (
    Algorithm,
    ConfigFile,
    DocumentUnit,
    Input,
    Model,
    Normalization,
    OneDocumentPer,
    Overrides,
    Strict,
    TextColumn,
    Threads,
    call,
    finish,
    spread,
)
from textssl.cli.inference import app as inference_app
from textssl.errors import UserError, printable
from textssl.system import standard_streams
from textssl.system.files import NO_ROOM
from textssl.system.interrupts import ended_by_signals

WRONG_INPUT = 2

ORDER = (  # of `--help`: the road from text to result, then what stands beside it
    *("quickstart", "samples", "tokenizer", "prepare", "mine", "pretrain", "finetune", "evaluate"),
    *("embed", "predict", "generate", "fill-mask"),
    *("schema", "doctor"),
)


class InOrder(TyperGroup):
    """Lists the commands in the order in which somebody meets them."""

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
samples_app = typer.Typer(help="Real sample data, fetched once and cached.", no_args_is_help=True)
tokenizer_app = typer.Typer(help="Make a tokenizer from your own text.", no_args_is_help=True)
app.add_typer(inference_app)
app.add_typer(samples_app, name="samples")
app.add_typer(tokenizer_app, name="tokenizer")


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


@samples_app.command("list")
def list_samples() -> None:
    """List the sample data with size, origin and licence.

    Example: `textssl samples list`
    """
    call("list_samples", locals())


@samples_app.command("get")
def get_sample(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of the names of `textssl samples list`.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy it there; default: the cache alone.")] = None,
) -> None:
    """Fetch one sample (pinned version and checksum) and say where it lies.

    Example: `textssl samples get news --out news`
    """
    call("get_sample", locals())


@tokenizer_app.command("train")
def train_tokenizer(
    input: Input,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make; AutoTokenizer loads it.")],
    algorithm: Annotated[Algorithm, typer.Option(help="Only bpe gives the same bytes every time.")] = Algorithm.bpe,
    vocab_size: Annotated[int, typer.Option(min=16, help="Tokens, special ones included.")] = 8192,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Lowercase all text.")] = False,
    strip_accents: Annotated[bool, typer.Option("--strip-accents", help="é becomes e.")] = False,
    normalization: Annotated[Normalization, typer.Option(help="Unicode normal form.")] = Normalization.NFC,
    byte_fallback: Annotated[bool, typer.Option(help="unigram: spell unknown characters in bytes.")] = True,
    text_column: TextColumn = "text",
    one_document_per: OneDocumentPer = DocumentUnit.blank_line,
    strict: Strict = False,
    threads: Threads = None,
) -> None:
    """Train a tokenizer and report how well it fits held-out text.

    Example: `textssl tokenizer train --input notes/*.txt --out tokenizer --vocab-size 8192`
    """
    call("train_tokenizer", locals())


@app.command()
def prepare(
    input: Input,
    tokenizer: Annotated[str, typer.Option(metavar="DIR", help="Tokenizer folder, or sample:minilm.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make: token shards and a held-out split.")],
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes, by default as many as cores are free; the bytes never depend on it."),
    ] = None,
    held_out: Annotated[float, typer.Option(help="Share of the documents that is set aside.")] = 0.01,
    language: Annotated[
        str, typer.Option(metavar="CODE", help="By whose rules sentences are cut, as de; auto: guessed by document.")
    ] = "auto",
    text_column: TextColumn = "text",
    one_document_per: OneDocumentPer = DocumentUnit.blank_line,
    strict: Strict = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished corpus.")] = False,
) -> None:
    """Turn text into token shards, with exact duplicates dropped and a held-out split set aside.

    Example: `textssl prepare --input notes/*.txt --tokenizer tokenizer --out corpus`
    """
    call("prepare", locals())


@app.command()
def pretrain(config: ConfigFile, overrides: Overrides = None) -> None:
    """Train a model; a run folder that holds checkpoints is continued.

    Example: `textssl pretrain configs/mlm.yaml tokenizer=tokenizer data.corpus=corpus train.max_steps=200`

    Several processes: `torchrun --nproc_per_node 2 -m textssl pretrain CONFIG.yaml ...`

    Ctrl-C, SIGTERM or SIGHUP saves a checkpoint and exits with code 75.
    """
    finish(call("pretrain", {"config": config, "overrides": overrides or []}))


@app.command()
def finetune(config: ConfigFile, overrides: Overrides = None) -> None:
    """Teach a pretrained model the labels of your texts, and test it once beside what it has to beat.

    Example: `textssl finetune configs/classification.yaml model.pretrained=runs/mlm/model data.train=reviews.csv`

    Labelled files have the columns text (or text_a and text_b) and label or score. What you do not give as
    data.validation and data.test is split off, every class alike. With few labels: configs/few-labels.yaml.

    RUN/model is a stock transformers classifier, RUN/predictions.jsonl its answers to the test texts.
    """
    finish(call("finetune", {"config": config, "overrides": overrides or []}))


@app.command()
def evaluate(
    model: Model,
    suite: Annotated[
        str,
        typer.Option(
            metavar="quick|full|tuned|FILE.yaml", help="Which tasks and how many draws; the named ones are English."
        ),
    ] = "quick",
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also majority class, TF-IDF and the same model with random weights.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write every figure there.")] = None,
    held_out: Annotated[
        str | None, typer.Option(metavar="PATH", help="Unseen text or a prepared corpus, for bits per byte.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="DIR", help="Another model: differences on the same examples, with p.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Put the tables into the model's card, README.md.")] = False,
    corpus: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What it was trained on, to count evaluation texts there; default: RUN's."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Show what a model is worth on the tasks of a suite, with intervals.

    Example: `textssl evaluate --model runs/mlm/model --baselines`
    """
    arguments = locals()
    from textssl.evaluation.suite_file import check_suite

    check_suite(suite)  # a misspelt kind should not wait for the libraries
    call("evaluate", arguments)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Default: standard output.")] = None,
) -> None:
    """Print the JSON schema of the configuration, objectives included, for editors.

    Example: `textssl schema --out textssl.schema.json`, and as first line of a YAML file:
    `# yaml-language-server: $schema=textssl.schema.json`
    """
    call("schema", locals())


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say which versions, devices, precision and optional extras this machine has, and how to get what is missing.

    Example: `textssl doctor`
    """
    call("doctor", locals())


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything goes.")] = Path("quickstart"),
    train_steps: Annotated[int, typer.Option(min=1, help="Steps of the training itself.")] = 400,
) -> None:
    """All of it on sample news, in a few minutes on two cores: tokenizer, corpus, sentence encoder, evaluation.

    Steps that are finished are reused. The model is DIR/encoder/model.

    Example: `textssl quickstart --out quickstart`
    """
    finish(call("quickstart", locals()))


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 2 wrong input or a disk that refuses, 75 stopped by a signal after saving,
    128 + the signal's number (130 for Ctrl-C) where nothing had to be saved."""
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
        fail(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError) or (error.filename is None and error.errno not in NO_ROOM):
            raise
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        fail(f"{where}{error.strerror}")


def fail(message: str) -> NoReturn:
    typer.secho("error: ", fg=typer.colors.RED, err=True, nl=False)
    typer.echo(printable(message), err=True)
    sys.exit(WRONG_INPUT)
