"""The commands that tell about textssl itself: configs, schema, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textssl.cli.arguments import call

app = typer.Typer()
configs_app = typer.Typer(help="The configurations that come with textssl.", no_args_is_help=True)
app.add_typer(configs_app, name="configs")

ConfigName = Annotated[str, typer.Argument(metavar="NAME", help="One of the names of `textssl configs list`.")]


@configs_app.command("list")
def list_configs() -> None:
    """List the configurations with the command that takes each, and what it trains.

    Example: `textssl configs list`, then `textssl pretrain crops tokenizer=tokenizer data.corpus=corpus`
    """
    call("list_configs", locals())


@configs_app.command("show")
def show_config(name: ConfigName) -> None:
    """Print a configuration, with what it was measured to reach.

    Example: `textssl configs show crops`
    """
    call("show_config", locals())


@configs_app.command("copy")
def copy_config(
    name: ConfigName,
    out: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help="Default: NAME.yaml in this folder.")] = None,
) -> None:
    """Copy a configuration to change it; a file that exists is never replaced.

    Example: `textssl configs copy crops --out mine.yaml`, then `textssl pretrain mine.yaml ...`
    """
    call("copy_config", locals())


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
