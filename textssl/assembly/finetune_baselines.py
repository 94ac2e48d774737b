"""Baselines of a fine-tuned model: predictions of simpler methods on the same labels and test texts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console

from textssl import distributed
from textssl.assembly.tuning import Tuned, class_numbers, tune
from textssl.data.labelled.labelled_set import Labeled
from textssl.data.labelled.splits import Splits
from textssl.distributed import Accelerator
from textssl.errors import OutOfMemory, UserError
from textssl.evaluation import labelled_baselines
from textssl.evaluation.terms import Texts
from textssl.inference.encoders import load_encoder
from textssl.sections import Config
from textssl.system.progress import working
from textssl.training.tracking import announce

PLAIN_LR = 1e-4  # a new output layer needs a higher rate than contrastive tuning


@dataclass
class BaselinePredictions:
    """Predictions of the baselines for the test texts, on the first rank.

    answers: by name, (texts, classes) probabilities or (texts,) scores. terms: what a baseline that counts terms has
    counted, such as "words". stopped_by: the signal that stopped one of them.
    """

    answers: dict[str, np.ndarray] = field(default_factory=dict)
    terms: dict[str, str] = field(default_factory=dict)
    stopped_by: str | None = None


def make_baselines(
    config: Config, splits: Splits, accelerator: Accelerator, console: Console, known: Collection[str] = ()
) -> BaselinePredictions:
    """The baselines that evaluation.baselines names; every rank calls this.

    config: as its own run resolved it. known: baselines that are left out, as an earlier seed has them. Those that do
    not need validation texts to select a checkpoint learn from them too, unless data.shots keeps labels few. "scratch"
    is the same run from random weights, "finetune" is plain fine-tuning instead of contrastive tuning; both are runs in
    folders of their own inside the run folder. A baseline that is impossible with these texts is left out, and the
    reason announced. Only the first rank's answers count.
    """
    found = BaselinePredictions()
    if splits.test is None:
        return found
    for name in config.evaluation.baselines:
        if name in known:
            continue
        try:
            if name in ("scratch", "finetune"):
                made = other_run(name, config, splits, accelerator, console)
                if made.summary.stopped_by is not None:
                    found.stopped_by = made.summary.stopped_by
                    return found
                answers = made.answers
            else:
                with working(f"making the baseline {name}"):
                    answers = simple(name, config, splits, found.terms) if distributed.rank() == 0 else None
        except UserError as error:
            if isinstance(error, OutOfMemory) and accelerator.num_processes > 1:
                words = f"evaluation.baselines: {name} cannot be made: {error}, or leave {name} out"
                raise OutOfMemory(words) from error  # the other ranks train on, and would wait
            if distributed.rank() == 0:
                announce(console, f"evaluation.baselines: {name} is left out: {error}", style="yellow")
            continue
        if answers is not None:
            found.answers[name] = answers
    return found


def simple(name: str, config: Config, splits: Splits, terms: dict[str, str]) -> np.ndarray:
    """Answers of a baseline that trains no transformer; what TF-IDF counted is put into `terms`.

    Raises UserError where the baseline is impossible with these texts.
    """
    assert splits.test is not None
    classes, everything = len(splits.facts.classes), splits.learnable
    truth = targets(everything, splits)
    if name == "majority":
        return labelled_baselines.constant(truth, classes, len(splits.test))
    if name == "tfidf":
        told = labelled_baselines.tfidf(sides(everything), truth, sides(splits.test), classes, config.seed)
        answers, terms[name] = told
        return answers
    return probe(config, splits, everything)


def sides(part: Labeled) -> Texts:
    return part.texts, part.text_b


def targets(part: Labeled, splits: Splits) -> np.ndarray:
    return np.array(part.scores) if part.scores is not None else class_numbers(part, splits.facts)


def probe(config: Config, splits: Splits, everything: Labeled) -> np.ndarray:
    """A linear model on the frozen features of the folder that the run started from. Raises UserError without one."""
    assert splits.test is not None
    if config.model.pretrained is None or config.model.reinitialise:
        raise UserError("the run starts from random weights, not from features to be frozen")
    if splits.train.text_b is not None:
        raise UserError("it takes single texts, and these are pairs")
    encoder = load_encoder(config.model.pretrained, max_tokens=config.data.sequence_length)
    train, test = encoder.embed(everything.texts), encoder.embed(splits.test.texts)
    return labelled_baselines.linear(train, targets(everything, splits), test, len(splits.facts.classes), config.seed)


def other_run(name: str, config: Config, splits: Splits, accelerator: Accelerator, console: Console) -> Tuned:
    """Another run on the same splits, in a folder inside the run folder. UserError where it would be the same run."""
    other = config.unfrozen()
    other.out = str(Path(config.out) / name)
    if name == "scratch":
        if config.model.pretrained is None or config.model.reinitialise:
            raise UserError("the run itself starts from random weights")
        other.model.reinitialise = True
    elif config.objective["name"] != "pairs":
        raise UserError("the run itself is plain fine-tuning; it stands beside objective.name=pairs")
    else:
        other.objective, other.optimizer.lr = {"name": "auto"}, max(PLAIN_LR, config.optimizer.lr)
        other.model.pooling = other.model.dense_width = other.model.normalize = None
    if distributed.rank() == 0:
        announce(console, f"beside it, {name}:")
    return tune(other, splits, accelerator, console)
