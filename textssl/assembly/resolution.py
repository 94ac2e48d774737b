"""A configuration is resolved, once: the defaults of its objective, samples as folders. Then it is frozen."""

from __future__ import annotations

from pathlib import Path

from textssl.data.samples.cache import without_sample
from textssl.inference.loading import find_model
from textssl.objectives import resolve_objective
from textssl.objectives.base import Objective
from textssl.sections import Config


def resolve(config: Config) -> tuple[Config, Objective]:
    """A frozen copy with every default, and its objective, not built yet. Raises UserError."""
    whole = config.unfrozen()
    if whole.tokenizer is not None:
        whole.tokenizer = str(without_sample(whole.tokenizer))
    if whole.model.pretrained is not None and whole.model.pretrained.startswith("sample:"):
        whole.model.pretrained = str(find_model(whole.model.pretrained))
    objective, whole.objective = resolve_objective(whole.objective)
    return whole.freeze(), objective


def located(config: Config, run: Path) -> Config:
    """A frozen copy that goes on with the run in this very folder."""
    whole = config.unfrozen()
    whole.out, whole.train.resume = str(run), "auto"
    return whole.freeze()
