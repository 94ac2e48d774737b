"""What stands beside a fine-tuned model: answers of simpler ways on the same labels and test texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from accelerate import Accelerator
from rich.console import Console

from textssl import distributed
from textssl.data.labeled import Labeled
from textssl.data.splits import Splits
from textssl.evaluation import labelled_baselines
from textssl.evaluation.encoders import load_encoder
from textssl.evaluation.labelled_baselines import Texts
from textssl.sections import Config
from textssl.training.tracking import announce
from textssl.workflows.tuning import class_numbers, labelled, tune


def beside(config: Config, splits: Splits, accelerator: Accelerator, console: Console) -> dict[str, np.ndarray]:
    """Answers of the baselines in evaluation.baselines to the test texts, in their order; called on every rank.

    config: after its own run. What learns without choosing by validation also gets the validation texts. "scratch" is
    the same run from random weights, "finetune" plain fine-tuning in the place of contrast; both are runs in folders of
    their own inside the run folder. Answers of the first rank are the ones that count.
    """
    found: dict[str, np.ndarray] = {}
    if splits.test is None:
        return found
    classes, everything = len(splits.facts.classes), labelled(splits)
    for name in config.evaluation.baselines:
        if name in ("scratch", "finetune"):
            answers = other_run(name, config, splits, accelerator, console)
        elif distributed.rank() > 0:
            continue
        elif name == "majority":
            answers = labelled_baselines.constant(targets(everything, splits), classes, len(splits.test))
        elif name == "tfidf":
            test = sides(splits.test)
            answers = labelled_baselines.tfidf(
                sides(everything), targets(everything, splits), test, classes, config.seed
            )
        else:
            answers = probe(config, splits, everything)
        if answers is not None:
            found[name] = answers
    return found


def sides(part: Labeled) -> Texts:
    return part.texts, part.text_b


def targets(part: Labeled, splits: Splits) -> np.ndarray:
    return np.array(part.scores) if part.scores is not None else class_numbers(part, splits.facts)


def probe(config: Config, splits: Splits, everything: Labeled) -> np.ndarray | None:
    """A linear model on the frozen features of the folder that the run started from; None where there is none."""
    assert splits.test is not None
    if config.model.pretrained is None or config.model.reinitialise or splits.train.text_b is not None:
        return None
    encoder = load_encoder(config.model.pretrained, max_tokens=config.data.sequence_length)
    train, test = encoder.embed(everything.texts), encoder.embed(splits.test.texts)
    return labelled_baselines.linear(train, targets(everything, splits), test, len(splits.facts.classes), config.seed)


def other_run(
    name: str, config: Config, splits: Splits, accelerator: Accelerator, console: Console
) -> np.ndarray | None:
    """Another run on the same splits, in a folder inside the run folder; None where it would be the same run."""
    other = config.model_copy(deep=True)
    other.out = str(Path(config.out) / name)
    if name == "scratch":
        if config.model.pretrained is None or config.model.reinitialise:
            return None
        other.model.reinitialise = True
    elif config.objective["name"] != "pairs":
        return None
    else:
        other.objective = {"name": "auto"}
    if distributed.rank() == 0:
        announce(console, f"beside it, {name}:")
    return tune(other, splits, accelerator, console).answers
