"""One fine-tuning run on labelled texts: the whole model on its labels, or a sentence encoder by contrast of labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from transformers import PreTrainedTokenizerFast

from textssl import distributed
from textssl.assembly.datasets import Data, training_steps
from textssl.assembly.pretraining import build_backbone
from textssl.assembly.resolution import for_labels, refuse_unused, resolve
from textssl.assembly.runs import choose_run, conduct, make_trainer
from textssl.assembly.tokenizers import open_tokenizer
from textssl.data.batches.batching import Limits
from textssl.data.batches.labelled_examples import ExampleDealing, LabelPairs, encode_examples
from textssl.data.batches.loader import StepDataset
from textssl.data.batches.token_reader import TokenReader
from textssl.data.keyed_random import LABELLED
from textssl.data.labelled.labelled_set import Labeled
from textssl.data.labelled.splits import Splits
from textssl.data.plan.in_memory import InMemory
from textssl.distributed import Accelerator
from textssl.errors import UserError
from textssl.evaluation.figures.calibration import fit_temperature
from textssl.evaluation.figures.supervised import answer_values
from textssl.evaluation.labelled_baselines import fit_logistic
from textssl.inference.encoders import load_encoder
from textssl.models.build import count_parameters
from textssl.models.classifier import TextClassifier, build_classifier
from textssl.models.linear_head import LinearHead, softmax
from textssl.models.static import is_static, is_static_folder
from textssl.objectives.base import Objective
from textssl.objectives.pairs import Pairs
from textssl.objectives.supervised import Supervised
from textssl.sample_types import LabelFacts
from textssl.sections import Config
from textssl.sharding import gathered
from textssl.training.evaluations import Evaluation
from textssl.training.passes import predictions
from textssl.training.step import Encode
from textssl.training.summary import Summary
from textssl.training.tracking import announce
from textssl.training.trainer import Trainer

TOO_LONG = "longer than data.sequence_length={} and cut:"
READ_AT_ONCE = 256  # examples a step of evaluation


@dataclass
class Tuned:
    """What came out of one run.

    objective: with the weights that were exported. config: resolved, as in RUN/config.yaml. truth, answers: of the test
    part, (examples,) targets, and (examples, classes) probabilities or (examples,) scores; None where there is no test
    part or the run was stopped. temperature: what the logits of a linear head were divided by, once and for all; None
    without such a head. Contrastive tuning gives the last three on the first rank only.
    """

    summary: Summary
    objective: Objective
    config: Config
    truth: np.ndarray | None = None
    answers: np.ndarray | None = None
    temperature: float | None = None


def tune(config: Config, splits: Splits, accelerator: Accelerator, console: Console) -> Tuned:
    """Train on the labels, keep the best checkpoint, export RUN/model, and answer the test part.

    config: its objective is classification, regression, pairs, or auto, which follows from the labels. Raises
    UserError.
    """
    config, objective = resolve(for_labels(config, splits))
    words, _ = open_tokenizer(config)
    refuse_unused(config, supervised=isinstance(objective, Supervised))
    if isinstance(objective, Supervised):
        return fine_tune(config, objective, splits, words, accelerator, console)
    if isinstance(objective, Pairs):
        return contrast(config, objective, splits, words, accelerator, console)
    raise UserError(
        f"objective.name is {config.objective['name']}, which learns no labels: `textssl finetune` takes "
        "classification, regression and pairs (contrastive tuning with few labels)"
    )


def fine_tune(
    config: Config,
    objective: Supervised,
    splits: Splits,
    words: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    console: Console,
) -> Tuned:
    """All layers (but those that are frozen) and a new head learn the labels."""
    trainer, backbone, examples = assemble_tuning(config, objective, splits, words, accelerator, console)
    read = partial(read_part, trainer, objective)
    if "validation" in examples:
        every = config.evaluation.every or -(-len(splits.train) // config.train.batch_size)
        trainer.evaluations.append(Evaluation(lambda: validate(read, examples["validation"]), every, "eval/loss"))
    summary = conduct(trainer, describe(trainer, splits))
    tuned = Tuned(summary, objective, trainer.resolved)
    if summary.stopped_by is None:
        with gathered(objective):
            if distributed.rank() == 0:
                backbone.export(trainer.run / "model", words)
        if "test" in examples:
            with backbone.as_exported():  # and outside of autocast, as users run it
                tuned.answers, tuned.truth = read(examples["test"], encode=objective)
    distributed.barrier()
    return tuned


def assemble_tuning(
    config: Config,
    objective: Supervised,
    splits: Splits,
    words: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    console: Console,
) -> tuple[Trainer, TextClassifier, dict[str, list[Any]]]:
    """The trainer, the model, and the examples of each part; nothing is written."""
    pretrained = config.model.pretrained
    if is_static(config.model) or (pretrained is not None and is_static_folder(Path(pretrained))):
        raise UserError("a static encoder has no layers to fine-tune: choose objective.name=pairs, or a transformer")
    facts, length = splits.facts, config.data.sequence_length
    objective.take_labels(facts)
    if splits.validation is None and (config.evaluation.best or config.evaluation.patience):
        raise UserError(
            "evaluation.best chooses by validation texts, and there are none: "
            "give data.validation, or evaluation.best=null"
        )
    config, found = choose_run(config, words, {"labels": splits.fingerprint}, console, accelerator.device)
    backbone = build_classifier(config.model, words, facts, sequence_length=length, seed=config.seed)
    backbone.note_texts(1 if splits.train.text_b is None else 2)
    if config.train.gradient_checkpointing:
        backbone.checkpoint_gradients()
    if config.train.compile:
        backbone.compile()
    encoded = {name: encode_examples(part, words, length, facts) for name, part in splits.parts.items()}
    trainer = make_trainer(
        *(config, objective, backbone),
        lambda progress: example_steps(config, objective, encoded["train"][0], progress=progress),
        *(words, accelerator, console),
        found=found,
        samples_an_epoch=lambda steps: len(splits.train),
        num_documents=len(splits.train),
        warnings=cuts(encoded, length),
    )
    return trainer, backbone, {name: examples for name, (examples, _) in encoded.items()}


def cuts(encoded: dict[str, tuple[list[Any], int]], length: int) -> list[str]:
    counted = {name: (cut, len(examples)) for name, (examples, cut) in encoded.items() if cut}
    if not counted:
        return []
    words = ", ".join(f"{cut:,} of {total:,} {name} texts" for name, (cut, total) in counted.items())
    return [f"{TOO_LONG.format(length)} {words}"]


def example_steps(config: Config, objective: Objective, examples: list[Any], **options: Any) -> StepDataset:
    """This rank's share of the examples: shuffled without end, or with num_samples once in their order."""
    measured = "num_samples" in options
    order = InMemory(examples, config.seed, LABELLED, shuffle=not measured)
    limits = Limits(config.train.micro_batch_size, config.train.micro_batch_tokens)
    return StepDataset(
        *(order, seen_whole if measured else objective.make_view, objective.collate),
        batch_size=options.pop("batch_size", config.train.batch_size),
        world_size=distributed.world_size(),
        rank=distributed.rank(),
        dealing=ExampleDealing(limits),
        **options,
    )


def seen_whole(sample: Any, rng: np.random.Generator, progress: float) -> Any:
    return sample


def read_part(
    trainer: Trainer, objective: Supervised, examples: list[Any], encode: Encode | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities or scores, targets) of a part, the same on every rank. encode: None for the trainer's."""
    steps = example_steps(trainer.config, objective, examples, num_samples=len(examples), batch_size=READ_AT_ONCE)
    logits, targets = predictions(objective, encode or trainer.encode, steps, trainer.device)
    return objective.predictions(logits), targets.astype(int) if objective.label_facts.classes else targets


def validate(read: Callable[[list[Any]], tuple[np.ndarray, np.ndarray]], examples: list[Any]) -> dict[str, float]:
    """{"eval/loss": (for scores, the mean squared error), ...} with every other figure."""
    found, targets = read(examples)
    values = answer_values(targets, found)
    values["loss"] = values.get("loss", values.get("mse", 0.0))
    return {f"eval/{name}": value for name, value in values.items()}


def describe(trainer: Trainer, splits: Splits) -> str:
    frozen = count_parameters(trainer.objective) - sum(parameter.numel() for parameter in trainer.parameters)
    parts = ", ".join(f"{len(part):,} to {name}" for name, part in splits.parts.items())
    classes = f" in {len(splits.facts.classes)} classes" if splits.facts.classes else ""
    processes = trainer.accelerator.num_processes
    return (
        f"{trainer.config.objective['name']}: {count_parameters(trainer.objective):,} parameters"
        f"{f', {frozen:,} of them frozen' if frozen else ''}, {splits.train.kind}{classes}: {parts}, "
        f"{processes} process{'es' * (processes > 1)} on {trainer.device.type} in {trainer.precision}"
    )


def contrast(
    config: Config,
    objective: Pairs,
    splits: Splits,
    words: PreTrainedTokenizerFast,
    accelerator: Accelerator,
    console: Console,
) -> Tuned:
    """SetFit's two phases (arXiv:2209.11055, section 3): texts of one class attract, then a linear head is fitted."""
    if not splits.facts.classes or splits.train.text_b is not None:
        raise UserError("objective.name=pairs tunes on single texts with labels; for scores choose regression")
    if objective.chosen_loss == "classification":
        raise UserError("objective.loss is classification; to tune on labels choose contrast or regression")
    if config.evaluation.best or config.evaluation.patience:
        raise UserError("evaluation.best is not for objective.name=pairs, which makes no figures on the way")
    length = config.data.sequence_length
    ids = TokenReader(words, special_tokens=False).read(splits.train.texts).rows
    order = LabelPairs(
        [np.array(one[:length], np.int64) for one in ids],
        splits.train.labels,
        config.seed,
        scored=objective.chosen_loss == "regression",
        fingerprint=splits.fingerprint,
    )
    objective.take_pairs(order.facts)
    data = Data([], order)
    config, found = choose_run(config, words, {"labels": splits.fingerprint}, console, accelerator.device)
    trainer = make_trainer(
        *(config, objective, build_backbone(config, objective, words, data)),
        lambda progress: training_steps(config, objective, data, progress),
        *(words, accelerator, console),
        found=found,
        samples_an_epoch=lambda steps: len(splits.train),
        num_documents=len(splits.train),
    )
    cut = sum(len(one) + objective.row_format().overhead > length for one in ids)
    if cut and distributed.rank() == 0:
        announce(console, f"{TOO_LONG.format(length)} {cut:,} of {len(ids):,} train texts", style="yellow")
    summary = conduct(trainer, describe(trainer, splits))
    tuned = Tuned(summary, objective, trainer.resolved)
    folder = trainer.run / "model"
    if summary.stopped_by is None:
        objective.backbone.cut_at(length)
        with gathered(objective):
            if distributed.rank() == 0:
                objective.backbone.export(folder, words)
    if summary.stopped_by is None and distributed.rank() == 0:
        head, tuned.temperature, vectors_of = fit_head(folder, splits.learnable, splits.facts, config)
        head.save(folder)
        if splits.test is not None:
            tuned.answers = softmax(head.logits(vectors_of(splits.test.texts)))
            tuned.truth = class_numbers(splits.test, splits.facts)
    distributed.barrier()
    return tuned


def class_numbers(part: Labeled, facts: LabelFacts) -> np.ndarray:
    """(examples,) class numbers."""
    return np.array([facts.classes.index(label) for label in part.labels])


def fit_head(
    folder: Path, part: Labeled, facts: LabelFacts, config: Config
) -> tuple[LinearHead, float, Callable[[list[str]], np.ndarray]]:
    """Logistic regression on the vectors of a sentence-transformers folder, its temperature, and what gives vectors.

    Weights and bias are divided by the temperature (`fit_temperature`, beside the vectors of the encoder that the run
    started from), so that whoever reads the head has calibrated probabilities, and the same labels.
    """
    encoder = load_encoder(folder, max_tokens=None, normalize=None)
    vectors, labels = encoder.embed(part.texts), class_numbers(part, facts)
    model = fit_logistic(vectors, labels, config.seed)
    temperature = fit_temperature(model, vectors, labels, config.seed, vectors_before(part, config))
    weight, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(facts.classes) == 2:  # scikit-learn keeps the second class's row alone
        weight, bias = np.concatenate([0 * weight, weight]), np.concatenate([0 * bias, bias])
    weight, bias = weight.astype(np.float64) / temperature, bias.astype(np.float64) / temperature
    return LinearHead(list(facts.classes), weight, bias), temperature, encoder.embed


def vectors_before(part: Labeled, config: Config) -> np.ndarray | None:
    """The vectors of the encoder that the run started from; None where it started from random weights."""
    if config.model.pretrained is None or config.model.reinitialise:
        return None
    encoder = load_encoder(config.model.pretrained, max_tokens=config.data.sequence_length, normalize=None)
    return encoder.embed(part.texts)
