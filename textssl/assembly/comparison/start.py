"""What a run begins with, where that is more than random weights: latent semantic analysis, or a model."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from textssl.assembly.comparison.entries import Entry
from textssl.assembly.pretraining import assemble
from textssl.assembly.resolution import resolve
from textssl.assembly.runs import start_accelerator
from textssl.config import load_config
from textssl.models.static import begins_with_lsa
from textssl.sections import ModelConfig


def begins_learned(model: ModelConfig) -> bool:
    """Whether a model section begins with more than random weights."""
    return (model.pretrained is not None and not model.reinitialise) or begins_with_lsa(model)


def export_start(entry: Entry, folder: Path) -> None:
    """Write the model folder that an entry's run would export before its first step."""
    own = f"out={folder / 'run'}", f"seed={entry.seed}"
    config, objective = resolve(load_config(entry.source, [*entry.given, *own]))
    _, _, words = assemble(config, objective, start_accelerator(config), Console(file=io.StringIO()))
    objective.export(folder, words)
