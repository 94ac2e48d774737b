"""Fine-tuning as a figure of an evaluation suite: labelled texts in, answers to the test texts out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from textssl.assembly.runs import start_accelerator
from textssl.assembly.tuning import Tuned, tune
from textssl.config import parse_config
from textssl.data.labelled.labelled_set import Labeled
from textssl.data.labelled.splits import Splits, split_off
from textssl.distributed import launched_world
from textssl.errors import UserError
from textssl.evaluation.suite import Suite
from textssl.evaluation.tasks.classification import Tuner
from textssl.inference.loading import load_config
from textssl.models.configuration import position_capacity
from textssl.models.static import is_static_folder
from textssl.system.files import scratch_folder
from textssl.system.terminal import Terminal
from textssl.training.signals import left_alone

MAX_TOKENS = 128
FEW = 200  # with fewer labels none is set aside to choose a checkpoint by
LENGTHS = {"finetune": (5, 60), "contrast": (1, 60)}  # method -> epochs, and least steps
RATES = {"finetune": (1e-4, 1e-3), "contrast": (3e-5,)}  # the first serves where no validation texts can choose
VALIDATION_SHARE = 0.1


def folder_tuner(folder: Path, *, scratch: bool = False) -> Tuner:
    """The tuner of a model folder, which is left as it is. scratch: its architecture with random weights.

    "finetune" trains all layers for 5 epochs (at least 60 steps) on the first 128 tokens, or as many as the model
    takes; from FEW labels on, a tenth of them chooses the rate (small and random models want the higher one) and the
    checkpoint. "contrast" is SetFit's tuning by pairs of equal labels, for 60 steps, with a linear head.
    """

    def answer(
        method: str, train_texts: Sequence[str], train_labels: np.ndarray, test_texts: Sequence[str], seed: int
    ) -> np.ndarray:
        names = [f"{number:05}" for number in range(int(train_labels.max()) + 1)]  # sorted as numbers are
        train = Labeled("train", list(train_texts), [names[label] for label in train_labels])
        validation = None
        if method == "finetune" and len(train) >= FEW:
            rest, validation = split_off(train, VALIDATION_SHARE)
            train, validation = (rest, validation) if len(validation) else (train, None)  # classes of a few texts
        test = Labeled("test", list(test_texts), [train.labels[0]] * len(test_texts))  # their labels are not looked at
        chosen: Tuned | None = None
        for rate in RATES[method] if validation is not None else RATES[method][:1]:
            with scratch_folder() as run, left_alone():
                config = parse_config(settings(method, folder, scratch, len(train), rate, seed, run / "run"))
                quiet = Terminal(file=io.StringIO())
                tuned = tune(config, Splits(train, validation, test), start_accelerator(config), quiet)
            if chosen is None or validation_value(tuned) > validation_value(chosen):
                chosen = tuned
        assert chosen is not None and chosen.answers is not None
        known = sorted(set(train.labels))
        return np.array([names.index(known[place]) for place in chosen.answers.argmax(1)])

    return answer


def validation_value(tuned: Tuned) -> float:
    """Macro F1 of the validation texts at the best checkpoint."""
    assert tuned.summary.best is not None
    return tuned.summary.best["value"]


def settings(method: str, folder: Path, scratch: bool, examples: int, rate: float, seed: int, run: Path) -> dict:
    """The configuration of one training run."""
    epochs, least = LENGTHS[method]
    batch_size = 32
    contrast = method == "contrast"
    return {
        "out": str(run),
        "seed": seed,
        "data": {"sequence_length": most_tokens(folder)},
        "model": {"pretrained": str(folder), "reinitialise": scratch},
        "objective": {"name": "pairs", "temperature": 0.1} if contrast else {"name": "classification"},
        "optimizer": {"name": "adamw", "lr": rate, "betas": [0.9, 0.999]},
        "schedule": {"name": "linear", "warmup_fraction": 0.1},
        "train": {
            "max_steps": max(epochs * -(-examples // batch_size), least),
            "batch_size": batch_size,
            "log_every": 1_000_000,
            "checkpoint_every": None,
            "keep_checkpoints": 1,
            "threads": torch.get_num_threads(),  # which the evaluation has chosen
        },
        "evaluation": {"every": None},
    }


def most_tokens(folder: Path) -> int:
    """MAX_TOKENS, or as many as the model has positions for."""
    capacity = None if is_static_folder(folder) else position_capacity(load_config(folder))
    return min(MAX_TOKENS, capacity or MAX_TOKENS)


def suite_tuners(folder: Path, suite: Suite, skipped: dict[str, str]) -> tuple[Tuner | None, Tuner | None]:
    """The tuners of a model and of its architecture untrained; None where no task of the suite asks for one.

    A static encoder has no layers to fine-tune: such figures are taken out of its tasks, and `skipped` says so.
    Raises UserError where several processes were started: `textssl evaluate` goes on with the first alone.
    """
    tasks = [task for task in suite.tasks if getattr(task, "tuned", ())]
    if not tasks:
        return None, None
    if launched_world() > 1:
        raise UserError(
            f"{tasks[0].name} wants figures of fine-tuning, which one process makes: start `textssl evaluate` without "
            "torchrun, or leave `tuned` out of the suite"
        )
    if not is_static_folder(folder):
        return folder_tuner(folder), folder_tuner(folder, scratch=True)
    for task in tasks:
        kept = tuple(name for name in task.tuned if not name.startswith("finetune"))
        if kept != task.tuned:
            skipped[f"{task.name}, fine-tuned"] = "a static encoder has no layers to fine-tune"
        task.tuned = kept
    return folder_tuner(folder), None
