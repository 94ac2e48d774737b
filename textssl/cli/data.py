"""The commands that make data to train on: samples, tokenizer, prepare, mine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textssl.cli.arguments import (
    Address,
    Algorithm,
    DocumentUnit,
    Engine,
    EngineName,
    Input,
    Model,
    Normalization,
    OneDocumentPer,
    PairUnit,
    Strict,
    TextColumn,
    Threads,
    call,
)

app = typer.Typer()
samples_app = typer.Typer(help="Real sample data, fetched once and cached.", no_args_is_help=True)
tokenizer_app = typer.Typer(help="Make a tokenizer from your own text.", no_args_is_help=True)
app.add_typer(samples_app, name="samples")
app.add_typer(tokenizer_app, name="tokenizer")


@samples_app.command("list")
def list_samples() -> None:
    """List the sample data with size, origin and licence.

    Example: `textssl samples list`
    """
    call("list_samples", locals())


@samples_app.command("get")
def get_sample(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of the names of `textssl samples list`.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Also copy it to this folder.")] = None,
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
    max_word_types: Annotated[
        int, typer.Option(min=1, metavar="N", help="Leave out words met after so many different ones: bounds memory.")
    ] = 1_000_000,
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
        typer.Option(min=1, help="Worker processes; default: one per core. The output is the same for any number."),
    ] = None,
    held_out: Annotated[float, typer.Option(help="Share of the documents that is set aside.")] = 0.01,
    language: Annotated[
        str,
        typer.Option(
            metavar="CODE", help="Language whose rules split sentences, such as de; auto: guessed for each document."
        ),
    ] = "auto",
    text_column: TextColumn = "text",
    one_document_per: OneDocumentPer = DocumentUnit.blank_line,
    strict: Strict = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a finished corpus.")] = False,
    near_duplicates: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Drop documents that share so much with an earlier one: 0.8 is usual."),
    ] = None,
    min_characters: Annotated[int | None, typer.Option(metavar="N", help="Drop shorter documents.")] = None,
    max_characters: Annotated[int | None, typer.Option(metavar="N", help="Drop longer documents.")] = None,
    keep_languages: Annotated[
        str | None, typer.Option(metavar="CODES", help="Drop documents in other languages (guessed), such as en,de.")
    ] = None,
    drop_repetitive: Annotated[
        bool,
        typer.Option("--drop-repetitive", help="Drop documents that repeat their lines or words (Gopher's limits)."),
    ] = False,
    keep_matching: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Drop documents in which this matches nowhere.")
    ] = None,
    drop_matching: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Drop documents in which this matches anywhere.")
    ] = None,
    engine: Engine = EngineName.local,
    address: Address = None,
) -> None:
    """Turn text into token shards, with exact duplicates dropped and a held-out split set aside.

    What is dropped is counted by reason and shown with examples, also in corpus.json. With `--engine ray` an
    interrupted run goes on when it is started again.

    Example: `textssl prepare --input notes/*.txt --tokenizer tokenizer --out corpus --near-duplicates 0.8`
    """
    call("prepare", locals())


@app.command()
def mine(
    model: Model,
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="Pairs with negatives, as data.pairs reads them.")],
    corpus: Annotated[Path | None, typer.Option(metavar="DIR", help="Prepared corpus to draw pairs from.")] = None,
    pairs: Annotated[
        str | None, typer.Option(metavar="FILE", help="Instead of a corpus: a table with text_a and text_b.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="DIR", help="The corpus's tokenizer, where the model has another.")
    ] = None,
    unit: Annotated[PairUnit, typer.Option(help="Which parts of a document form a pair.")] = PairUnit.sentences,
    num_negatives: Annotated[int, typer.Option(min=1, help="Negatives of each pair.")] = 1,
    range_min: Annotated[int, typer.Option(min=0, help="Skip this many of the nearest texts.")] = 0,
    range_max: Annotated[int | None, typer.Option(min=1, help="Consider only this many of the nearest texts.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="By how much a negative's cosine must lie below the positive's.")
    ] = None,
    relative_margin: Annotated[
        float | None, typer.Option(help="The same, as a share of the positive's cosine.")
    ] = None,
    max_score: Annotated[float | None, typer.Option(help="The highest cosine of a negative.")] = None,
    min_score: Annotated[float | None, typer.Option(help="The lowest cosine of a negative.")] = None,
    max_pairs: Annotated[
        int, typer.Option(min=2, help="Use a random sample of this many pairs, to limit memory.")
    ] = 20_000,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut longer texts; default: the model's limit.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Another draws other pairs.")] = 0,
    threads: Threads = None,
) -> None:
    """Find hard negatives: texts from other documents that a model finds similar.

    Example: `textssl mine --model runs/crops/model --corpus corpus --out pairs.jsonl --margin 0.05`, then
    `textssl pretrain pairs data.pairs=pairs.jsonl ...`
    """
    call("mine", locals())
