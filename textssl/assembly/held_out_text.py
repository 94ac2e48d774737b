"""Held-out text of a run: its steps, and how many samples its batches have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from textssl import distributed
from textssl.assembly.datasets import Data, build_steps, check_files, planned, sample_kinds
from textssl.data.batches.loader import JoinedSteps, Steps
from textssl.data.corpus.corpus import Corpus
from textssl.errors import UserError
from textssl.objectives.base import Objective
from textssl.sections import Config
from textssl.training.held_out import HELD_OUT_SEED


def held_out_steps(
    config: Config, objective: Objective, data: Data, warn: Callable[[str], None]
) -> tuple[Steps, Corpus] | None:
    """The steps over the held-out text, and its corpus; None where there is none.

    A default split may be too small for the objective: `warn` is told why, and there is no evaluation. Where
    data.held_out names the text, that raises UserError.
    """
    if not data.corpora or sample_kinds(objective) == {"pairs"}:
        return None
    corpus = held_out_corpus(config, data)
    if corpus is None:
        return None
    held_out = replace(data, corpora=[(corpus, 1.0)])
    try:
        steps = build_steps(config, objective, held_out, HELD_OUT_SEED, most=config.evaluation.max_rows)
    except UserError as error:
        if config.data.held_out:
            raise
        warn(f"no held-out loss: {error}")
        return None
    if any(Path(corpus.path).resolve() == Path(one.path).resolve() for one, _ in data.corpora):
        warn(f"the held-out text {corpus.path} is trained on too, so its loss says nothing about new text")
    elif len(data.corpora) > 1 and not config.data.held_out:
        first = data.corpora[0][0].path
        warn(f"the held-out text is that of {first} alone, the first of several: data.held_out names another")
    return (steps, corpus) if len(steps) else None


def held_out_corpus(config: Config, data: Data) -> Corpus | None:
    first = data.corpora[0][0]
    path = Path(config.data.held_out) if config.data.held_out else first.held_out
    if not config.data.held_out and not distributed.from_first_rank(path.exists):
        return None
    corpus = Corpus.open(path)
    check_files(corpus)
    distributed.check_alike({"data.held_out": corpus.fingerprint})
    if corpus.tokenizer_hash != first.tokenizer_hash:
        raise UserError(f"data.held_out {path} was prepared with another tokenizer than {first.path}")
    return corpus if corpus.documents else None


def held_out_batches(config: Config, objective: Objective, steps: Steps) -> dict[str, tuple[int, int]]:
    """(held-out, training) samples a step where a loss sees the whole batch, by prefix of the figures."""
    if not objective.parts:
        own = {"eval/": (planned(steps)[0].batch_size, config.train.batch_size)}
        return own if objective.has_batch_loss else {}
    assert isinstance(steps, JoinedSteps)
    return {
        f"eval/{name}/": (steps.parts[name].batch_size, part.batch_size or config.train.batch_size)
        for name, part in objective.parts.items()
        if part.objective.has_batch_loss and name in steps.parts
    }
