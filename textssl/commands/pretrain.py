"""`textssl pretrain`: a configuration becomes objects, the trainer runs, the result is exported and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from textssl import distributed
from textssl.assembly.in_loop import suite_overlap
from textssl.assembly.pretraining import assemble, describe
from textssl.assembly.resolution import resolve
from textssl.assembly.runs import conduct, held_run, start_accelerator
from textssl.assembly.seen_texts import any_found, overlap_lines
from textssl.config import Config, load_config
from textssl.distributed import Accelerator
from textssl.errors import UserError
from textssl.failing_ranks import starting_together
from textssl.objectives import SUPERVISED
from textssl.objectives.base import Objective
from textssl.report.card import write_card
from textssl.report.facts import run_facts
from textssl.sharding import gathered
from textssl.system.terminal import Terminal
from textssl.training.summary import Summary
from textssl.training.tracking import announce


def pretrain(config: str | Path | Config, overrides: Sequence[str] = (), console: Console | None = None) -> Summary:
    """Train a model as a configuration says; a run folder that holds checkpoints is continued.

    config: a YAML file, a name of `textssl configs list`, or a Config. overrides: `key.sub=value` strings, not for a
    Config. Leaves the run folder of the configuration's `out`. Raises UserError for anything wrong in what was given,
    before anything is written.
    """
    console = console or Terminal(stderr=True)
    with starting_together():
        config = config if isinstance(config, Config) else load_config(config, overrides)
        if config.objective.get("name") in SUPERVISED:
            name = config.objective["name"]
            raise UserError(f"objective.name is {name}, which learns labels: use `textssl finetune`")
        if config.train.num_seeds > 1:
            raise UserError("train.num_seeds is for `textssl finetune`: start a run for each seed")
        accelerator = start_accelerator(config)
    with held_run(config):
        config, objective = resolve(config)
        return train(config, objective, accelerator, console)


def train(config: Config, objective: Objective, accelerator: Accelerator, console: Console) -> Summary:
    trainer, data, words = assemble(config, objective, accelerator, console)
    run = trainer.run
    overlap = suite_overlap(config, objective, words, [corpus for corpus, _ in data.corpora])
    lines = overlap_lines(overlap) if overlap else []
    if distributed.rank() == 0:
        for line in lines:
            announce(console, line, style="yellow" if any_found(overlap) else None)
    summary = conduct(trainer, describe(trainer, data, accelerator))
    summary.overlap = overlap
    folders: list[Path] = []
    if summary.stopped_by is None:
        with gathered(objective):
            if distributed.rank() == 0:
                objective.export(run / "model", words)
                folders = [run / "model", *objective.export_others(run, words)]
    if distributed.rank() == 0:
        if summary.stopped_by is None:
            given = len(data.pairs.pairs) if data.pairs else 0
            facts = run_facts(
                *(trainer.resolved, objective, asdict(summary)),
                corpora=data.corpora,
                pairs=given,
                figures=trainer.book.exported_figures,
                limits=lines,
                tokenizer=words,
            )
            for folder in folders:
                write_card(folder, facts)
        summary.write()
        announce(console, summary.line())
    distributed.barrier()
    return summary
