"""The commands that use a finished model: evaluate, embed, predict, generate, fill-mask, explore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textssl.cli.arguments import (
    Address,
    Compute,
    DocumentUnit,
    Engine,
    EngineName,
    Input,
    Model,
    OneDocumentPer,
    Precision,
    Strict,
    TextColumn,
    Threads,
    call,
    finish,
)

app = typer.Typer()


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
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write every figure to this file.")] = None,
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
def embed(
    model: Model,
    input: Input,
    out: Annotated[
        Path,
        typer.Option(metavar="FILE.npy|.parquet", help="An existing file is replaced once the new one is complete."),
    ],
    precision: Annotated[Precision, typer.Option(help="Format of the numbers; int8 keeps one scale per dimension.")] = (
        Precision.float32
    ),
    truncate_dim: Annotated[
        int | None, typer.Option(min=1, help="Keep this many leading dimensions, scaled back to unit length.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option("--normalize/--no-normalize", help="Scale vectors to unit length; default: as the model says."),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Cut longer texts; default: the model's limit.")] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="NAME|TEXT", help="Text to put before each input, for models with prompts.")
    ] = None,
    compute: Annotated[
        Compute,
        typer.Option(
            help="Format inside the model; auto: bfloat16 where it is native and a sample keeps its direction."
        ),
    ] = Compute.auto,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes; the output is the same for any number.", show_default="one a GPU, else one"
        ),
    ] = None,
    text_column: TextColumn = "text",
    one_document_per: OneDocumentPer = DocumentUnit.blank_line,
    strict: Strict = False,
    threads: Threads = None,
    engine: Engine = EngineName.local,
    address: Address = None,
) -> None:
    """Turn texts into vectors, in the order of the input and in bounded memory.

    Example: `textssl embed --model runs/simcse/model --input notes/*.txt --out notes.npy`

    The places of the texts are in notes.ids.jsonl, or in a column of the .parquet. An interrupted job (exit code 75)
    goes on when it is started again.
    """
    finish(call("embed", locals()))


@app.command()
def generate(
    model: Model,
    prompt: Annotated[str, typer.Option(metavar="TEXT", help="The text to go on from, or one with gaps.")],
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Maximum number of new tokens; fewer if the text ends.")
    ] = 100,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Sample from this many of the likeliest tokens; 0: all.")] = 50,
    top_p: Annotated[
        float, typer.Option(max=1.0, help="Sample from the likeliest tokens that hold this share of probability.")
    ] = 0.95,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: repeat less.")] = 1.1,
    num_return_sequences: Annotated[int, typer.Option(min=1, help="How many continuations.")] = 1,
    greedy: Annotated[bool, typer.Option("--greedy", help="Always take the likeliest token.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Another gives another text.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Of a diffusion model: passes that unmask the text.")] = 32,
) -> None:
    """Continue a text with a causal or a diffusion model, or fill its gaps ([MASK]) with an encoder-decoder.

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
    out: Annotated[
        Path, typer.Option(metavar="FILE.jsonl", help="One JSON object per text; the file appears once complete.")
    ],
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


@app.command()
def explore(
    model: Model,
    input: Input,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the page and of every figure.")] = Path(
        "explored"
    ),
    query: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Show its nearest texts; may be repeated.")
    ] = None,
    between: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Twice: the texts on the way from one to the other.")
    ] = None,
    analogy: Annotated[
        list[str] | None, typer.Option(metavar="'A B C'", help="The words nearest to A - B + C; may be repeated.")
    ] = None,
    num_clusters: Annotated[int, typer.Option(help="Groups to find.")] = 8,
    max_texts: Annotated[int, typer.Option(min=2, help="Take a random sample of this many texts.")] = 2_000,
    scores: Annotated[bool, typer.Option(help="Also word analogies and disentanglement (English).")] = True,
    text_column: TextColumn = "text",
    one_document_per: OneDocumentPer = DocumentUnit.blank_line,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the texts drawn, and the groups.")] = 0,
) -> None:
    """Look at what a model makes of texts: neighbours, groups, word analogies, and a map on an HTML page.

    Example: `textssl explore --model runs/crops/model --input sample:news --query "floods in the north"`
    """
    call("explore", {**locals(), "query": query or [], "between": between or [], "analogy": analogy or []})
