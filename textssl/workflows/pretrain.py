"""`textssl pretrain`: a configuration becomes objects, the trainer runs, the result is exported and summed up."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import asdict
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
from textssl.errors import UserError
from textssl.evaluation.loading import find_model
from textssl.models.build import build_model, count_parameters
from textssl.models.heads import LanguageModel
from textssl.models.sentence import SentenceModel, build_sentence_model, is_static
from textssl.models.static import StaticTable
from textssl.objectives import resolve_objective
from textssl.objectives.base import Objective
from textssl.report.card import write_card
from textssl.report.facts import run_facts
from textssl.training.checkpoint import newest_checkpoint, read_state, remove_unfinished
from textssl.training.held_out import held_out_loss
from textssl.training.precision import choose_precision, native_bfloat16
from textssl.training.schedule import StepProgress
from textssl.training.summary import Summary, summarize
from textssl.training.tracking import announce, check_tensorboard
from textssl.training.trainer import Trainer
from textssl.workflows.datasets import Data, held_out_steps, open_data, planned, training_steps

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
    trainer, data, words = assemble(config, objective, accelerator, console)
    run = trainer.run
    if distributed.rank() == 0:
        run.mkdir(parents=True, exist_ok=True)
        (run / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
        announce(console, describe(trainer, data, accelerator))
    stopped_by = trainer.fit()
    summary = summarize(trainer, stopped_by)
    if distributed.rank() == 0:
        if stopped_by is None:
            objective.export(run / "model", words)
            given = len(data.pairs.pairs) if data.pairs else 0
            facts = run_facts(
                config, objective, asdict(summary), corpora=data.corpora, pairs=given, figures=trainer.figures
            )
            write_card(run / "model", facts)
        summary.write()
        announce(console, summary.line())
    distributed.barrier()
    return summary


def assemble(
    config: Config, objective: Objective, accelerator: Accelerator, console: Console
) -> tuple[Trainer, Data, PreTrainedTokenizerFast]:
    """Every object that a run needs, checked against each other; nothing is written."""
    if config.train.tensorboard:
        check_tensorboard()
    if config.model.pretrained is not None and config.model.pretrained.startswith("sample:"):
        config.model.pretrained = str(find_model(config.model.pretrained))
    source = config.tokenizer or config.model.pretrained
    if source is None:
        raise UserError("tokenizer is missing: name a folder made by `textssl tokenizer train`, e.g. tokenizer=DIR")
    words = tokenizer.load(source)
    data = open_data(config, objective, words, source, console)
    run, newest, identity = choose_run(config, data, console)
    config.out, config.train.resume = str(run), "auto"  # so that RUN/config.yaml goes on with this very run
    cuda = accelerator.device.type == "cuda"
    precision = choose_precision(cuda) if config.train.precision == "auto" else config.train.precision
    backbone = build_backbone(config, objective, words, data)
    warnings = check_family(words, backbone)
    if precision == "bfloat16" and not native_bfloat16(cuda):
        warnings = [*warnings, "bfloat16 is emulated on this device, 50 to 100 times slower: use float32"]
    for warning in warnings if distributed.rank() == 0 else ():
        announce(console, warning, style="yellow")
    with torch.random.fork_rng(devices=[]):  # every rank and every run of a seed makes the same heads
        torch.manual_seed(config.seed)
        objective.build(backbone, Vocabulary.of(words))
    objective.to(accelerator.device, DTYPES.get(precision, torch.float32))
    distributed.broadcast_module(objective)
    clock = multiprocessing.Value("d", 0.0)
    progress = StepProgress(config.train, config.train.batch_size * config.data.sequence_length, clock)
    dataset = training_steps(config, objective, data, progress)
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
    trainer.evaluate = held_out_evaluator(config, objective, data, trainer, words)
    return trainer, data, words


def check_family(words: PreTrainedTokenizerFast, backbone: LanguageModel | SentenceModel) -> list[str]:
    """What the tokenizer lacks for this backbone; a static encoder needs nothing."""
    inner = backbone.backbone if isinstance(backbone, SentenceModel) else backbone
    return tokenizer.check_family(words, inner.model.config.model_type) if isinstance(inner, LanguageModel) else []


def choose_run(config: Config, data: Data, console: Console) -> tuple[Path, Path | None, dict[str, Any]]:
    """The run folder after `train.resume`, the checkpoint to go on from, and the facts that a resumed run must share.

    Raises UserError naming the keys in which a run to be continued differs.
    """
    identity = {
        "config": config.model_dump(mode="json"),
        "corpora": data.fingerprints(config),
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


def build_backbone(config: Config, objective: Objective, words: Any, data: Data) -> LanguageModel | SentenceModel:
    options: dict[str, Any] = {"sequence_length": config.data.sequence_length, "seed": config.seed}
    if objective.embeds:
        counts = data.counts(len(words)) if is_static(config.model) else None
        model = build_sentence_model(config.model, words, head=objective.head, counts=counts, **options)
        if isinstance(model.backbone, StaticTable):
            for key in ("gradient_checkpointing", "compile"):
                if getattr(config.train, key):
                    raise UserError(f"train.{key} does nothing for a static encoder: leave it out")
            return model
        backbone = model.backbone
    else:
        model = backbone = LanguageModel(build_model(config.model, words, causal=objective.head, **options))
    if config.train.gradient_checkpointing:
        backbone.checkpoint_gradients()
    if config.train.compile:
        backbone.compile()
    return model


def held_out_evaluator(
    config: Config, objective: Objective, data: Data, trainer: Trainer, words: PreTrainedTokenizerFast
):
    """() -> held-out figures, or None where there is no held-out text."""

    def warn(text: str) -> None:
        if distributed.rank() == 0:
            announce(trainer.console, text, style="yellow")

    found = held_out_steps(config, objective, data, warn)
    if found is None:
        return None
    steps, corpus = found
    tokens_per_byte = None
    if objective.codes_text and tokenizer.keeps_text(words):
        tokens_per_byte = (corpus.tokens + len(objective.row_format().end) * corpus.documents) / corpus.bytes
    return lambda: held_out_loss(objective, trainer.encode, steps, trainer.device, tokens_per_byte)


def describe(trainer: Trainer, data: Data, accelerator: Accelerator) -> str:
    config, processes = trainer.config, accelerator.num_processes
    tokens = sum(corpus.tokens for corpus, _ in data.corpora)
    text = f"{tokens:,} tokens of text" if tokens else f"the pairs of {config.data.pairs}"
    names = {"adjacent": "pairs of neighbouring sentences", "pairs": "given pairs"}
    samples = [
        f"{len(steps.plan):,} {names.get(part.sample, part.sample)} an epoch, {steps.batch_size} a step"
        for steps, part in zip(planned(trainer.dataset), leaves(trainer.objective), strict=True)
    ]
    return (
        f"{config.objective['name']}: {count_parameters(trainer.objective):,} parameters, {text} in "
        f"{' and '.join(samples)}, {processes} process{'es' * (processes > 1)} on {trainer.device.type} "
        f"in {trainer.precision}"
    )


def leaves(objective: Objective) -> list[Objective]:
    return [part.objective for part in objective.parts.values()] or [objective]
