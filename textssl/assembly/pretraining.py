"""A configuration becomes everything that a pretraining run needs: tokenizer, data, backbone, trainer, evaluations."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from transformers import PreTrainedTokenizerFast

from textssl import distributed, tokenizer
from textssl.assembly.datasets import Data, document_passes, open_data, planned, training_steps
from textssl.assembly.held_out_text import held_out_batches, held_out_steps
from textssl.assembly.in_loop import suite_evaluation
from textssl.assembly.runs import choose_run, make_trainer
from textssl.assembly.tokenizers import open_tokenizer
from textssl.config import Config
from textssl.distributed import Accelerator
from textssl.errors import UserError
from textssl.models.build import build_model
from textssl.models.configuration import Predicts
from textssl.models.heads import LanguageModel
from textssl.models.layers import freeze_layers
from textssl.models.lsa import start_with_lsa
from textssl.models.sentence import SentenceModel, build_sentence_model, token_reader
from textssl.models.seq2seq.model import Seq2SeqModel, build_seq2seq
from textssl.models.static import StaticTable, begins_with_lsa, is_static
from textssl.objectives.base import Objective
from textssl.training.evaluations import LOSS, Evaluation
from textssl.training.held_out import held_out_loss
from textssl.training.passes import corpus_vectors
from textssl.training.tracking import announce
from textssl.training.trainer import Trainer

Backbone = LanguageModel | SentenceModel | Seq2SeqModel
ANALYSED_TOKENS = 2**22  # for the token vectors of a transformer, which go on learning


def assemble(
    config: Config, objective: Objective, accelerator: Accelerator, console: Console
) -> tuple[Trainer, Data, PreTrainedTokenizerFast]:
    """Every object that a run needs, checked against each other; nothing is written."""
    words, source = open_tokenizer(config)
    data = open_data(config, objective, words, source, console)
    config, found = choose_run(config, words, data.fingerprints(config), console, accelerator.device)
    backbone = build_backbone(config, objective, words, data)
    if found[1] is None:
        start_embeddings(config, backbone, words, data, console)
    trainer = make_trainer(
        *(config, objective, backbone),
        lambda progress: training_steps(config, objective, data, progress),
        *(words, accelerator, console),
        found=found,
        samples_an_epoch=lambda steps: len(planned(steps)[0].plan),
        num_documents=data.num_documents,
        frequencies=data.frequencies(len(words)) if data.corpora else None,
        warnings=check_family(words, backbone),
    )
    if any(part.refresh_every for part in objective.leaves):
        passes = document_passes(config, objective, data)
        trainer.embed_corpus = lambda: corpus_vectors(objective, passes, trainer.device, trainer.precision)
    held_out = held_out_evaluator(config, objective, data, trainer, words)
    if held_out is not None:
        trainer.evaluations.append(Evaluation(held_out, config.evaluation.every, "eval/loss"))
    trainer.evaluations += suite_evaluation(config, objective, words)
    return trainer, data, words


def check_family(words: PreTrainedTokenizerFast, backbone: Backbone) -> list[str]:
    """What the tokenizer lacks for this backbone; a static encoder needs nothing."""
    inner = token_reader(backbone)
    return tokenizer.check_family(words, inner.model.config.model_type) if isinstance(inner, LanguageModel) else []


def build_backbone(config: Config, objective: Objective, words: Any, data: Data) -> Backbone:
    options: dict[str, Any] = {"sequence_length": config.data.sequence_length, "seed": config.seed}
    head = token_head(objective)
    model: Backbone
    if objective.backbone_kind == "sentence":
        counts = data.counts(len(words)) if is_static(config.model) else None
        model = build_sentence_model(config.model, words, head=head, counts=counts, **options)
        if isinstance(model.backbone, StaticTable):
            for key in ("gradient_checkpointing", "compile"):
                if getattr(config.train, key):
                    raise UserError(f"train.{key} does nothing for a static encoder: leave it out")
            return model
        backbone = model.backbone
    elif head == "seq2seq":
        model = backbone = build_seq2seq(config.model, words, **options)
    else:
        model = backbone = LanguageModel(build_model(config.model, words, causal=head, **options))
    freeze_layers(backbone.backbone, config.model.frozen_layers)
    if config.train.gradient_checkpointing:
        backbone.checkpoint_gradients()
    if config.train.compile:
        backbone.compile()
    return model


def start_embeddings(
    config: Config, backbone: Backbone, words: PreTrainedTokenizerFast, data: Data, console: Console
) -> None:
    """Begin the token vectors of a new transformer with latent semantic analysis, in place, where that is asked for; on
    the first rank, from which the others get their weights."""
    reader = token_reader(backbone)
    if distributed.rank() or not isinstance(reader, LanguageModel | Seq2SeqModel) or not begins_with_lsa(config.model):
        return
    counts = data.counts(len(words), ANALYSED_TOKENS)
    announce(console, "token vectors begin with latent semantic analysis of the text")
    start_with_lsa(reader.model.get_input_embeddings(), counts, config.seed)


def token_head(objective: Objective) -> Predicts:
    """The output layer over the vocabulary that an objective, or a part of a mixture, needs: True causal, False masked,
    "seq2seq" that of an encoder-decoder, None for none. Raises UserError for parts that need different backbones."""
    kinds = {part.backbone_kind for part in objective.leaves}
    if "seq2seq" in kinds and len(kinds) > 1:
        raise UserError("objective.parts mixes an encoder-decoder with other models, which one backbone cannot be")
    return "seq2seq" if "seq2seq" in kinds else True if "causal" in kinds else False if "masked" in kinds else None


def held_out_evaluator(
    config: Config, objective: Objective, data: Data, trainer: Trainer, words: PreTrainedTokenizerFast
):
    """A function that measures the held-out figures; None where there is no held-out text. Raises UserError."""

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
    sizes = held_out_batches(config, objective, steps)
    smaller = [f"{held_out:,} instead of {wanted:,}" for held_out, wanted in sizes.values() if held_out < wanted]
    if smaller:
        if config.evaluation.best == LOSS:
            raise UserError(
                f"evaluation.best is {LOSS}, but a loss over the whole batch is another one on smaller batches, and "
                f"held-out text gives {smaller[0]} samples: choose a figure of evaluation.suite, or hold out more text"
            )
        warn(f"{LOSS} does not compare with train/loss: its batches have {smaller[0]} samples")
    figures = {f"{name}batch_size": float(held_out) for name, (held_out, _) in sizes.items()}
    return lambda: held_out_loss(objective, trainer.encode, steps, trainer.device, tokens_per_byte) | figures


def describe(trainer: Trainer, data: Data, accelerator: Accelerator) -> str:
    config, processes = trainer.config, accelerator.num_processes
    tokens = sum(corpus.tokens for corpus, _ in data.corpora)
    text = f"{tokens:,} tokens of text" if tokens else f"the pairs of {config.data.pairs}"
    names = {"adjacent": "pairs of neighbouring sentences", "pairs": "given pairs"}
    samples = [
        f"{len(steps.plan):,} {names.get(part.draws, part.draws)} an epoch, {steps.batch_size} a step"
        for steps, part in zip(planned(trainer.dataset), trainer.objective.leaves, strict=True)
    ]
    return (
        f"{config.objective['name']}: {sum(one.numel() for one in trainer.parameters):,} trained parameters, {text} in "
        f"{' and '.join(samples)}, {processes} process{'es' * (processes > 1)} on {trainer.device.type} "
        f"in {trainer.precision}"
    )
