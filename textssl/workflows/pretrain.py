"""`textssl pretrain`: a configuration becomes objects, the trainer runs, the result is exported and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PreTrainedTokenizerFast

from textssl import distributed, tokenizer
from textssl.config import Config, load_config
from textssl.distributed import Accelerator
from textssl.errors import UserError
from textssl.models.build import build_model, count_parameters
from textssl.models.heads import LanguageModel
from textssl.models.layers import freeze_layers
from textssl.models.sentence import SentenceModel, build_sentence_model, is_static
from textssl.models.static import StaticTable
from textssl.objectives import SUPERVISED, resolve_objective
from textssl.objectives.base import Objective
from textssl.report.card import write_card
from textssl.report.facts import run_facts
from textssl.terminal import Terminal
from textssl.training.evaluations import Evaluation
from textssl.training.held_out import held_out_loss
from textssl.training.summary import Summary
from textssl.training.tracking import announce
from textssl.training.trainer import Trainer
from textssl.workflows.datasets import Data, held_out_steps, open_data, planned, training_steps
from textssl.workflows.in_loop import suite_evaluation, suite_overlap
from textssl.workflows.runs import choose_run, conduct, held_run, make_trainer, open_tokenizer, start_accelerator
from textssl.workflows.seen_texts import any_found, overlap_lines


def pretrain(config: str | Path | Config, overrides: Sequence[str] = (), console: Console | None = None) -> Summary:
    """Train a model as a configuration says; a run folder that holds checkpoints is continued.

    config: a YAML file or a Config. overrides: `key.sub=value` strings, for a file. Leaves the run folder of the
    configuration's `out`. Raises UserError for anything wrong in what was given, before anything is written.
    """
    config = config.model_copy(deep=True) if isinstance(config, Config) else load_config(config, overrides)
    console = console or Terminal(stderr=True)
    if config.objective.get("name") in SUPERVISED:
        raise UserError(f"objective.name is {config.objective['name']}, which learns labels: use `textssl finetune`")
    if config.train.num_seeds > 1:
        raise UserError("train.num_seeds is for `textssl finetune`: start a run for each seed")
    objective, config.objective = resolve_objective(config.objective)
    accelerator = start_accelerator(config)
    with held_run(config):
        return train(config, objective, accelerator, console)


def train(config: Config, objective: Objective, accelerator: Accelerator, console: Console) -> Summary:
    trainer, data, words = assemble(config, objective, accelerator, console)
    run = trainer.run
    overlap = suite_overlap(config, objective, words, [corpus for corpus, _ in data.corpora])
    lines = overlap_lines(overlap) if overlap else []
    if distributed.rank() == 0:
        for line in lines:
            announce(console, line, style="yellow" if any_found(overlap) else None)
    summary = conduct(trainer, config, describe(trainer, data, accelerator))
    summary.overlap = overlap
    if distributed.rank() == 0:
        if summary.stopped_by is None:
            objective.export(run / "model", words)
            given = len(data.pairs.pairs) if data.pairs else 0
            facts = run_facts(
                *(config, objective, asdict(summary)),
                corpora=data.corpora,
                pairs=given,
                figures=trainer.exported_figures,
                limits=lines,
                tokenizer=words,
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
    words, source = open_tokenizer(config)
    data = open_data(config, objective, words, source, console)
    found = choose_run(config, words, data.fingerprints(config), console)
    backbone = build_backbone(config, objective, words, data)
    trainer = make_trainer(
        *(config, objective, backbone),
        lambda progress: training_steps(config, objective, data, progress),
        *(words, accelerator, console),
        found=found,
        samples_an_epoch=lambda steps: len(planned(steps)[0].plan),
        warnings=check_family(words, backbone),
    )
    held_out = held_out_evaluator(config, objective, data, trainer, words)
    if held_out is not None:
        trainer.evaluations.append(Evaluation(held_out, config.evaluation.every, "eval/loss"))
    trainer.evaluations += suite_evaluation(config, objective, words)
    return trainer, data, words


def check_family(words: PreTrainedTokenizerFast, backbone: LanguageModel | SentenceModel) -> list[str]:
    """What the tokenizer lacks for this backbone; a static encoder needs nothing."""
    inner = backbone.backbone if isinstance(backbone, SentenceModel) else backbone
    return tokenizer.check_family(words, inner.model.config.model_type) if isinstance(inner, LanguageModel) else []


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
    freeze_layers(backbone.backbone, config.model.frozen_layers)
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
