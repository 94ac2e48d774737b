"""The commands that use a finished model: texts in, vectors, labels, text or pairs out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textssl.cli.arguments import (
    DocumentUnit,
    Input,
    Model,
    OneDocumentPer,
    PairUnit,
    Precision,
    Strict,
    TextColumn,
    Threads,
    call,
    finish,
)

app = typer.Typer()


@app.command()
def embed(
    model: Model,
    input: Input,
    out: Annotated[
        Path, typer.Option(metavar="FILE.npy|.parquet", help="Replaced, if it is there, when the new one is complete.")
    ],
    precision: Annotated[Precision, typer.Option(help="Of the numbers written; int8 has a scale a dimension.")] = (
        Precision.float32
    ),
    truncate_dim: Annotated[
        int | None, typer.Option(min=1, help="The first so many dimensions, made unit length again.")
    ] = None,
    normalize: Annotated[
        bool | None, typer.Option("--normalize/--no-normalize", help="Unit length; default: as the model says.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut longer texts; default: the model's limit.")] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME|TEXT", help="What to put before each text, for models with prompts.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; the bytes written never depend on it.")] = 1,
    text_column: TextColumn = "text",
    one_document_per: OneDocumentPer = DocumentUnit.blank_line,
    strict: Strict = False,
    threads: Threads = None,
) -> None:
    """Turn texts into vectors, in the order of the input and in bounded memory.

    Example: `textssl embed --model runs/simcse/model --input notes/*.txt --out notes.npy`

    The places of the texts are in notes.ids.jsonl, or in a column of the .parquet. An interrupted job (exit code 75)
    goes on when it is started again.
    """
    finish(call("embed", locals()))


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
    unit: Annotated[PairUnit, typer.Option(help="What of a document makes a pair.")] = PairUnit.sentences,
    num_negatives: Annotated[int, typer.Option(min=1, help="Negatives of each pair.")] = 1,
    range_min: Annotated[int, typer.Option(min=0, help="Leave out so many of the nearest texts.")] = 0,
    range_max: Annotated[int | None, typer.Option(min=1, help="Look no further than the nearest so many.")] = None,
    margin: Annotated[
        float | None, typer.Option(help="A negative is at least so much less similar than the positive.")
    ] = None,
    relative_margin: Annotated[float | None, typer.Option(help="The same, as a share of that similarity.")] = None,
    max_score: Annotated[float | None, typer.Option(help="The highest cosine of a negative.")] = None,
    min_score: Annotated[float | None, typer.Option(help="The lowest cosine of a negative.")] = None,
    max_pairs: Annotated[int, typer.Option(min=2, help="Draw so many where there are more; bounds memory.")] = 20_000,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut longer texts; default: the model's limit.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
    threads: Threads = None,
) -> None:
    """Find hard negatives: texts that a model takes for similar and that belong to another document.

    Example: `textssl mine --model runs/crops/model --corpus corpus --out pairs.jsonl --margin 0.05`, then
    `textssl pretrain configs/pairs.yaml data.pairs=pairs.jsonl ...`
    """
    call("mine", locals())


@app.command()
def generate(
    model: Model,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="The text to go on from.")],
    max_new_tokens: Annotated[int, typer.Option(min=1, help="At most; fewer where the text ends.")] = 100,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Draw among the likeliest so many; 0: all.")] = 50,
    top_p: Annotated[float, typer.Option(max=1.0, help="Draw among those with this share of probability.")] = 0.95,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: repeat less.")] = 1.1,
    num_return_sequences: Annotated[int, typer.Option(min=1, help="How many continuations.")] = 1,
    greedy: Annotated[bool, typer.Option("--greedy", help="No drawing at all.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
) -> None:
    """Continue a text with a causal model.

    Example: `textssl generate --model runs/clm/model --prompt "The government said"`
    """
    call("generate", locals())


@app.command("fill-mask")
def fill_mask(
    model: Model,
    text: Annotated[str, typer.Option(metavar="TEXT", help="Text with one or more \\[MASK].")],
    top_k: Annotated[int, typer.Option(min=1, help="Candidates to show for each mask.")] = 5,
) -> None:
    """Show what a masked model would put in the gaps.

    Example: `textssl fill-mask --model runs/mlm/model --text "The [MASK] said on Monday"`
    """
    call("fill_mask", locals())


@app.command()
def predict(
    model: Model,
    input: Input,
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="One object a text; it appears when complete.")],
    text_column: TextColumn = "text",
    one_document_per: OneDocumentPer = DocumentUnit.blank_line,
    strict: Strict = False,
    threads: Threads = None,
) -> None:
    """Give each text its label with the probabilities of all, by a model that `textssl finetune` made.

    Example: `textssl predict --model runs/classifier/model --input new/*.csv --out labels.jsonl`

    Tables with the columns text_a and text_b hold pairs. A model of scores gives a score instead.
    """
    call("predict", locals())
