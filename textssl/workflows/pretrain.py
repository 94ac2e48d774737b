"""`textssl pretrain`: a configuration becomes objects, the trainer runs, the result is exported and summed up."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from transformers import PreTrainedTokenizerFast

from textssl import distributed, tokenizer
from textssl.batch import Vocabulary
from textssl.config import Config, differing_keys, load_config
from textssl.data.corpus import Corpus
from textssl.data.loader import StepDataset
from textssl.data.plan import Plan
from textssl.errors import UserError
from textssl.evaluation.loading import find_model
from textssl.models.build import build_model, count_parameters
from textssl.models.heads import LanguageModel
from textssl.objectives import resolve_objective
from textssl.objectives.base import Objective
from textssl.training.checkpoint import newest_checkpoint, read_state, remove_unfinished
from textssl.training.held_out import HELD_OUT_SEED, held_out_loss
from textssl.training.precision import choose_precision, native_bfloat16
from textssl.training.schedule import StepProgress
from textssl.training.summary import Summary, summarize
from textssl.training.tracking import announce, check_tensorboard
from textssl.training.trainer import Trainer

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def pretrain(config: str | Path | Config, overrides: Sequence[str] = (), console: Console | None = None) -> Summary:
    """Train a model as a configuration says; a run folder that holds checkpoints is continued.

    config: a YAML file or a Config. overrides: `key.sub=value` strings, for a file. Leaves the run folder of the
    configuration's `out`. Raises UserError for anything wrong in what was given, before anything is written.
    """
    config = config.model_copy(deep=True) if isinstance(config, Config) else load_config(config, overrides)
    console = console or Console(stderr=True)
    objective, config.objective = resolve_objective(config.objective)
    return train(config, objective, start_accelerator(config), console)


def start_accelerator(config: Config) -> Accelerator:
    """Accelerate's view of the devices and processes."""
    if config.train.device == "cuda" and not torch.cuda.is_available():
        raise UserError("train.device is cuda but no GPU is usable here; see `textssl doctor`")
    cpu = config.train.device == "cpu" or not torch.cuda.is_available()
    # Mixed precision is Trainer.encode's: Accelerate fixes one for the whole life of a process.
    accelerator = Accelerator(cpu=cpu, mixed_precision="no", step_scheduler_with_optimizer=False)
    distributed.check_world(accelerator.num_processes)
    distributed.leave_at_exit()
    return accelerator


def train(config: Config, objective: Objective, accelerator: Accelerator, console: Console) -> Summary:
    trainer, words = assemble(config, objective, accelerator, console)
    run = trainer.run
    if distributed.rank() == 0:
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        announce(console, describe(trainer, accelerator))
    stopped_by = trainer.fit()
    summary = summarize(trainer, stopped_by)
    if distributed.rank() == 0:
        if stopped_by is None:
            objective.export(run / "model", words)
        summary.write()
        announce(console, summary.line())
    distributed.barrier()
    return summary


def assemble(
    config: Config, objective: Objective, accelerator: Accelerator, console: Console
) -> tuple[Trainer, PreTrainedTokenizerFast]:
    """Every object that a run needs, checked against each other; nothing is written."""
    if config.train.tensorboard:
        check_tensorboard()
    if config.model.pretrained is not None and config.model.pretrained.startswith("sample:"):
        config.model.pretrained = str(find_model(config.model.pretrained))
    source = config.tokenizer or config.model.pretrained
    if source is None:
        raise UserError("tokenizer is missing: name a folder made by `textssl tokenizer train`, e.g. tokenizer=DIR")
    words = tokenizer.load(source)
    corpora = open_corpora(config, tokenizer.tokenizer_hash(words), source)
    run, newest, identity = choose_run(config, corpora, console)
    config.out, config.train.resume = str(run), "auto"  # so that RUN/config.yaml goes on with this very run
    cuda = accelerator.device.type == "cuda"
    precision = choose_precision(cuda) if config.train.precision == "auto" else config.train.precision
    backbone = build_backbone(config, objective, words)
    warnings = tokenizer.check_family(words, backbone.model.config.model_type)
    if precision == "bfloat16" and not native_bfloat16(cuda):
        warnings = [*warnings, "bfloat16 is emulated on this device, 50 to 100 times slower: use float32"]
    for warning in warnings if distributed.rank() == 0 else ():
        announce(console, warning, style="yellow")
    with torch.random.fork_rng(devices=[]):  # every rank and every run of a seed makes the same heads
        torch.manual_seed(config.seed)
        objective.build(backbone, Vocabulary.of(words))
    objective.to(accelerator.device, DTYPES.get(precision, torch.float32))
    clock = multiprocessing.Value("d", 0.0)
    weights = [share.weight for share in config.data.corpus]
    dataset = build_dataset(
        config,
        objective,
        list(zip(corpora, weights, strict=True)),
        seed=config.seed,
        progress=StepProgress(config.train, config.train.batch_size * config.data.sequence_length, clock),
    )
    trainer = Trainer(
        objective,
        dataset,
        config,
        run,
        accelerator,
        precision=precision,
        resume_from=newest,
        identity=identity,
        console=console,
        on_progress=lambda done: setattr(clock, "value", done),
    )
    trainer.evaluate = held_out_evaluator(config, objective, corpora, trainer, words)
    return trainer, words


def open_corpora(config: Config, tokenizer_hash: str, source: str) -> list[Corpus]:
    """The corpora of the mixture, which must have been prepared with this very tokenizer."""
    if not config.data.corpus:
        raise UserError("data.corpus is missing: name a folder made by `textssl prepare`, e.g. data.corpus=DIR")
    corpora = [Corpus.open(share.path) for share in config.data.corpus]
    for corpus in corpora:
        if corpus.tokenizer_hash != tokenizer_hash:
            raise UserError(
                f"the corpus {corpus.path} was prepared with another tokenizer than {source}: prepare it again"
            )
    return corpora


def choose_run(config: Config, corpora: list[Corpus], console: Console) -> tuple[Path, Path | None, dict[str, Any]]:
    """The run folder after `train.resume`, the checkpoint to go on from, and the facts that a resumed run must share.

    Raises UserError naming the keys in which a run to be continued differs.
    """
    identity = {
        "config": config.model_dump(mode="json"),
        "corpora": {str(corpus.path): corpus.fingerprint for corpus in corpora},
    }
    run, newest = distributed.from_first_rank(lambda: find_run(config, console))
    if newest is None:
        return run, None, identity
    before = read_state(newest)["identity"]
    changed = differing_keys(before["config"], identity["config"])
    if changed:
        raise UserError(
            f"{run} was trained with another configuration; these keys differ: {', '.join(changed)}. "
            "Put them back, choose another out, or begin anew with train.resume=restart"
        )
    if before["corpora"] != identity["corpora"]:
        raise UserError(f"{run} was trained on other text than {', '.join(identity['corpora'])} holds now")
    return run, newest, identity


def find_run(config: Config, console: Console) -> tuple[Path, Path | None]:
    """The run folder and its newest complete checkpoint; what a killed writer left there is cleared away."""
    run = Path(config.out)
    if run.exists() and not run.is_dir():
        raise UserError(f"out={run} is a file, it must be a folder to make")
    if run.is_dir() and any(run.iterdir()) and not (run / "config.yaml").is_file():
        raise UserError(f"out={run} holds other files and no run: choose a new folder")
    remove_unfinished(run / "checkpoints")
    if not any((run / "checkpoints").glob("step-*")):
        return run, None
    if config.train.resume == "never":
        raise UserError(f"{run} holds checkpoints and train.resume is never: choose another out, or train.resume=auto")
    if config.train.resume == "restart":
        number = 1
        while (run / f"restart-{number}").exists():
            number += 1
        return run / f"restart-{number}", None
    return run, newest_checkpoint(run / "checkpoints", partial(announce, console, style="yellow"))


def build_backbone(config: Config, objective: Objective, words: Any) -> LanguageModel:
    model = build_model(
        config.model,
        words,
        causal=objective.causal,
        sequence_length=config.data.sequence_length,
        seed=config.seed,
    )
    backbone = LanguageModel(model)
    if config.train.gradient_checkpointing:
        backbone.checkpoint_gradients()
    if config.train.compile:
        backbone.compile()
    return backbone


def build_dataset(
    config: Config, objective: Objective, shares: Sequence[tuple[Corpus, float]], seed: int, **options: Any
) -> StepDataset:
    """This rank's share of every step over weighted corpora. options: of StepDataset."""
    plan = Plan(
        shares,
        kind=objective.sample,
        length=config.data.sequence_length,
        form=objective.row_format(),
        seed=seed,
        window_tokens=config.data.window_tokens,
    )
    return StepDataset(
        plan,
        objective.corrupt,
        objective.collate,
        batch_size=config.train.batch_size,
        micro_batch_size=config.train.micro_batch_size,
        world_size=distributed.world_size(),
        rank=distributed.rank(),
        **options,
    )


def held_out_evaluator(
    config: Config, objective: Objective, corpora: list[Corpus], trainer: Trainer, words: PreTrainedTokenizerFast
):
    """() -> held-out figures, or None where there is no held-out text."""
    path = Path(config.data.held_out) if config.data.held_out else corpora[0].held_out
    if not config.data.held_out and not (path / "corpus.json").is_file():
        return None
    corpus = Corpus.open(path)
    if corpus.tokenizer_hash != corpora[0].tokenizer_hash:
        raise UserError(f"data.held_out {path} was prepared with another tokenizer than {corpora[0].path}")
    if corpus.documents == 0:
        return None
    dataset = build_dataset(config, objective, [(corpus, 1.0)], seed=HELD_OUT_SEED)
    dataset.num_samples = min(len(dataset.plan), config.evaluation.max_rows)
    tokens_per_byte = None
    if tokenizer.keeps_text(words):
        tokens_per_byte = (corpus.tokens + len(objective.row_format().end) * corpus.documents) / corpus.bytes
    return lambda: held_out_loss(objective, trainer.encode, dataset, trainer.device, tokens_per_byte)


def describe(trainer: Trainer, accelerator: Accelerator) -> str:
    config, plan = trainer.config, trainer.dataset.plan
    tokens = sum(epoch.corpus.tokens for epoch in plan.epochs)
    return (
        f"{config.objective['name']}: {count_parameters(trainer.objective):,} parameters, {tokens:,} tokens of text in "
        f"{len(plan):,} {trainer.objective.sample} an epoch, {config.train.batch_size} a step, "
        f"{accelerator.num_processes} process{'es' * (accelerator.num_processes > 1)} on {trainer.device.type} "
        f"in {trainer.precision}"
    )
