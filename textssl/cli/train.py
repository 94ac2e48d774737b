"""The commands that train: pretrain, finetune, and quickstart, which does all of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from textssl.cli.arguments import ConfigFile, Overrides, call, finish, home
from textssl.named_configs import find_config

app = typer.Typer()


def train(function: str, config: Path, overrides: list[str] | None) -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:  # else the other ranks have to hear of it
        find_config(home(config))  # a misspelt name should not wait for the libraries
    finish(call(function, {"config": config, "overrides": overrides or []}))


@app.command()
def pretrain(config: ConfigFile, overrides: Overrides = None) -> None:
    """Train a model; a run folder that holds checkpoints is continued.

    Example: `textssl pretrain mlm tokenizer=tokenizer data.corpus=corpus train.max_steps=200`

    Several processes: `torchrun --nproc_per_node 2 -m textssl pretrain CONFIG ...`

    An objective of your own: `objective.name=module:Class`, where module.py is in the current folder or installed.

    Ctrl-C, SIGTERM or SIGHUP saves a checkpoint and exits with code 75.
    """
    train("pretrain", config, overrides)


@app.command()
def finetune(config: ConfigFile, overrides: Overrides = None) -> None:
    """Teach a pretrained model the labels of your texts, and test it once against baselines.

    Example: `textssl finetune classification model.pretrained=runs/mlm/model data.train=reviews.csv`

    Labelled files have the columns text (or text_a and text_b) and label or score. What you do not give as
    data.validation and data.test is split off, every class alike. With few labels: `textssl finetune few-labels`.

    RUN/model is a stock transformers classifier, RUN/predictions.jsonl its answers to the test texts.
    """
    train("finetune", config, overrides)


@app.command()
def compare(
    configs: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG... [KEY.SUB=VALUE...]", help="Configurations, and overrides for all of them."),
    ],
    budget: Annotated[str, typer.Option(help="Of each run: a time such as 120s, or 1e6tokens.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the runs, tables and page.")] = Path("comparison"),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each configuration.")] = 1,
    suite: Annotated[str, typer.Option(help="Which tasks, as in `textssl evaluate`.")] = "quick",
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="Trained on: a size of transformer (default: nano), a preset such as static-base, or config for each "
            "configuration's own. Several, as --model A --model B, give a row each.",
        ),
    ] = None,
    scratch: Annotated[bool, typer.Option(help="Also train the model on labels alone.")] = True,
    retry: Annotated[bool, typer.Option("--retry", help="Run again what failed.")] = False,
) -> None:
    """Train objectives on the same corpus at an equal budget, and show them side by side beside baselines.

    Example: `textssl compare mlm crops simcse tokenizer=tokenizer data.corpus=corpus --budget 120s`

    DIR/report.html is one page with a sortable table, curves and maps; DIR/table.csv and DIR/results.json hold every
    figure. Started again it goes on where it stopped; a run that failed is a row that says why. Several machines may
    start the same comparison in one shared folder.
    """
    arguments = {**locals(), "model": model or ()}
    finish(call("compare", arguments))


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where everything goes.")] = Path("quickstart"),
    train_steps: Annotated[int, typer.Option(min=1, help="Steps of the training itself.")] = 400,
) -> None:
    """The whole pipeline on sample news, minutes on two cores: tokenizer, corpus, sentence encoder, evaluation.

    Steps that are finished are reused. The model is DIR/encoder/model.

    Example: `textssl quickstart --out quickstart`
    """
    finish(call("quickstart", locals()))
