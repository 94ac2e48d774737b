"""A configuration is resolved, once, and then frozen: its objective gets its defaults, samples become folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textssl.config import shared_values
from textssl.data.labelled.splits import Splits
from textssl.data.samples.cache import without_sample
from textssl.distributed import check_alike, from_first_rank, launched_world
from textssl.errors import UserError
from textssl.inference.loading import find_model
from textssl.objectives import resolve_objective
from textssl.objectives.base import Objective
from textssl.sections import Config
from textssl.sharding import count_shards
from textssl.system.checksums import sha256_of
from textssl.system.launch.settings import asked_shard

BEST = {"classification": "eval/macro_f1", "regression": "eval/spearman"}  # what the checkpoint is chosen by
SETTINGS = ("config.json", "modules.json", "sentence_bert_config.json", "*/config.json")  # of a model, in its folder


def resolve(config: Config) -> tuple[Config, Objective]:
    """A frozen copy with every default, and its objective, not built yet. Raises UserError."""
    whole = config.unfrozen()
    if whole.tokenizer is not None:
        whole.tokenizer = str(without_sample(whole.tokenizer))
    if whole.model.pretrained is not None and whole.model.pretrained.startswith("sample:"):
        whole.model.pretrained = str(find_model(whole.model.pretrained))
    take_launch(whole)
    objective, whole.objective = resolve_objective(whole.objective)
    return whole.freeze(), objective


def take_launch(config: Config) -> None:
    """Let Accelerate's configuration choose train.shard, in place. UserError where the key asks for something else."""
    asked, world = asked_shard(), launched_world()
    if asked is None:
        return
    given = config.train.shard
    if "shard" in config.train.model_fields_set and count_shards(given, world) != count_shards(asked, world):
        raise UserError(
            f"train.shard is {given}, but Accelerate's configuration shards parameters as train.shard={asked} would "
            f"(of {world} processes): leave one of them out"
        )
    config.train.shard = asked


def check_same(config: Config) -> None:
    """Raise UserError on every rank where one has another configuration than the first one; Accelerate's counts as the
    train.shard that it asks for."""
    asked = asked_shard()
    shards = count_shards(config.train.shard if asked is None else asked, launched_world())
    check_alike({**shared_values(config.model_dump(mode="json")), "train.shard": shards})


def model_settings(config: Config) -> dict[str, str]:
    """The sha256 of each file that says what the model in model.pretrained is, by its place in that folder; its weights
    are those that the first rank reads."""
    if config.model.pretrained is None:
        return {}
    folder = Path(config.model.pretrained)
    files = [file for one in SETTINGS for file in folder.glob(one) if file.is_file()]
    return {str(file.relative_to(folder)): sha256_of(file) for file in files}


def seen_here(config: Config, find: Callable[[Config], Path]) -> Path:
    """The folder at or in `out` that the first rank finds, as this rank sees it: hosts may have the disk elsewhere."""
    return Path(config.out, from_first_rank(lambda: find(config).relative_to(config.out)))


def located(config: Config, run: Path) -> Config:
    """A frozen copy that resumes the run in this very folder."""
    return config.with_values({"out": str(run), "train.resume": "auto"})


def for_labels(config: Config, splits: Splits) -> Config:
    """The configuration with what follows from the labels: the objective `auto`, and what chooses the checkpoint."""
    whole = config.unfrozen()
    if whole.objective.get("name") == "auto":
        whole.objective = {**whole.objective, "name": "classification" if splits.facts.classes else "regression"}
    if splits.validation is not None and whole.evaluation.best is None:
        whole.evaluation.best = BEST.get(str(whole.objective.get("name")))
    return whole


def refuse_unused(config: Config, *, supervised: bool) -> None:
    """UserError for keys that are set and would do nothing here."""
    keys = ["data.pairs", "data.held_out"]
    keys += ["evaluation.suite", "evaluation.suite_every", "evaluation.tasks"]
    keys += ["model.pooling", "model.dense_width", "model.normalize"] if supervised else []
    for key in keys:
        section, name = key.split(".")
        if getattr(getattr(config, section), name) not in (None, []):
            what = f"objective.name={config.objective['name']}" if section == "model" else "`textssl finetune`"
            raise UserError(f"{key} does nothing with {what}: leave it out")
