"""Beside the peers, in turns: transformers.Trainer, sentence-transformers' trainer and its encode; speed and memory."""

from __future__ import annotations

import functools
import itertools
import json
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmark.sentences import SPANS, crops
from scripts.benchmark.training import concatenated
from scripts.gpu_check.check import Check
from scripts.gpu_check.runs import TINY, settings, trainer_by_hand
from scripts.gpu_check.speed import (
    KINDS,
    begin_peak,
    flops_per_token,
    free,
    held_bytes,
    make_trainer,
    matrix_rate,
    peak_bytes,
    synchronize,
    throughput,
)
from textssl import tokenizer
from textssl.data.corpus.corpus import Corpus
from textssl.inference.encoders import load_encoder
from textssl.models.build import build_model
from textssl.models.sentence import build_sentence_model
from textssl.sections import ModelConfig

Side = Callable[[], tuple[float, float]]  # items a second, peak bytes

ROUNDS, WARMUP_STEPS = 2, 3
CROPS = 10_240  # pairs of spans for the peer, which reads texts
MINILM = {
    "model_type": "bert",
    "num_hidden_layers": 6,
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "attention_probs_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
}


def compare(check: Check, name: str, unit: str, ours: Side, theirs: Side, rounds: int = ROUNDS) -> float:
    """Both sides in turns; their ratio is the median over the rounds. Returns our speed."""
    sides: tuple[list, list] = ([], [])
    for _ in range(1 if check.dry else rounds):
        for found, side in zip(sides, (ours, theirs), strict=True):
            free(check.device)
            found.append(side())
    ratio = statistics.median(own / peer for (own, _), (peer, _) in zip(*sides, strict=True))
    (speed, peak), (peer, peer_peak) = [map(statistics.median, zip(*found, strict=True)) for found in sides]
    shown = f"{ratio:.2f} ({speed:,.0f} and {peer:,.0f} {unit}; {peak / 1e9:.1f} and {peer_peak / 1e9:.1f} GB)"
    figures = {"ours": speed, "theirs": peer, "our_peak_bytes": peak, "their_peak_bytes": peer_peak}
    check.write(name, None, shown, figure=ratio, **figures)
    return speed


class Clock:
    """A callback of transformers' trainers: speed and memory of the steps after the first few, until the time is over.

    Made before the model, as `peak` is what is taken beside what was there then.
    """

    def __new__(cls, check: Check, seconds: float):
        from transformers import TrainerCallback

        held = held_bytes(check.device)

        class Callback(TrainerCallback):
            started, steps, spent, peak = 0.0, 0, 0.0, 0.0

            def on_step_end(self, args, state, control, **_):
                if state.global_step == WARMUP_STEPS:
                    synchronize(check.device)
                    begin_peak(check.device)
                    self.started = time.perf_counter()
                elif self.started:
                    self.steps = state.global_step - WARMUP_STEPS
                    if self.steps >= 2 and time.perf_counter() - self.started > seconds:
                        synchronize(check.device)
                        self.spent = time.perf_counter() - self.started
                        self.peak = peak_bytes(check.device) - held
                        control.should_training_stop = True

        return Callback()


def seconds_of(check: Check) -> float:
    return 0.2 if check.dry else 5.0


def attentions() -> list[str]:
    """Of transformers: the one that it takes, and flash-attn's where that is there."""
    return ["sdpa", *(["flash_attention_2"] if find_spec("flash_attn") else [])]


def mlm(check: Check) -> None:
    pretraining(check, "mlm")


def clm(check: Check) -> None:
    pretraining(check, "clm")


def pretraining(check: Check, kind: str) -> None:
    """mlm of 150M parameters or clm of 125M, compiled as their configurations say, beside transformers.Trainer in bf16:
    as that comes, compiled, and with flash-attn where it is there."""
    preset, length, rows, micro, predicted = KINDS[kind]
    if check.dry:
        length, rows, micro = 64, 8, 4
    words, causal = tokenizer.load(check.work / "tokenizer"), kind == "clm"
    data = concatenated(check.work / "corpus", words, length)
    trainer = make_trainer(check, kind, "peer", compiled=not check.dry)

    def ours() -> tuple[float, float]:
        return throughput(check, trainer, seconds_of(check))

    def theirs(attention: str, compiled: bool) -> tuple[float, float]:
        from datasets import Dataset
        from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

        clock = Clock(check, seconds_of(check))
        family = "llama" if causal else "modernbert"
        spec = settings(check, family, "peer")["model"] if check.dry else {"preset": preset}
        chosen = ModelConfig.model_validate({**spec, "attention": attention})
        model = build_model(chosen, words, causal=causal, sequence_length=length, seed=0)
        arguments = TrainingArguments(
            output_dir=str(check.scratch / "trainer"), per_device_train_batch_size=micro, max_steps=10**6,
            gradient_accumulation_steps=rows // micro, bf16=not check.dry, use_cpu=check.dry, report_to="none",
            save_strategy="no", logging_steps=50, disable_tqdm=True, dataloader_num_workers=0 if check.dry else 4,
            learning_rate=1e-4, torch_compile=compiled,
        )  # fmt: skip
        share: dict[str, Any] = {} if causal else {"mlm_probability": predicted}
        collator = DataCollatorForLanguageModeling(words, mlm=not causal, **share)
        Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(data), data_collator=collator,
                callbacks=[clock]).train()  # fmt: skip
        return clock.steps * rows * length / clock.spent, clock.peak

    for compiled, attention in itertools.product([False] if check.dry else [False, True], attentions()):
        name = f"{kind} beside transformers.Trainer (bf16, {attention}{', compiled' if compiled else ''})"
        side = functools.partial(theirs, attention, compiled)
        speed = check.attempt(name, compare, check, name, "tokens/s", ours, side, rounds=1 if compiled else ROUNDS)
        if speed and not compiled and attention == "sdpa":
            share = speed * flops_per_token(trainer.objective.backbone.model, length, predicted) / matrix_rate(check)
            check.measured(f"{kind}: share of the matrix rate", share, f"{share:.0%}")


def sentence_folder(check: Check) -> Path:
    """An untrained encoder of MiniLM's size, which both sides begin with."""
    words = tokenizer.load(check.work / "tokenizer")
    config = {**MINILM, **TINY} if check.dry else MINILM
    model = build_sentence_model(ModelConfig(config=config), words, head=None, sequence_length=128, seed=0)
    model.max_seq_length = 128
    return model.export(check.scratch / "encoder", words)


def sentence_pairs(check: Check, kind: str) -> dict[str, list[str]]:
    """What the peer reads: neighbouring sentences, or two spans of a document, as texts."""
    if kind == "pairs":
        rows = [json.loads(line) for line in (check.work / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
        return {key: [row[key] for row in rows] for key in ("text_a", "text_b")}
    spans = crops(Corpus.open(check.work / "corpus"), tokenizer.load(check.work / "tokenizer"))
    left, right = zip(*itertools.islice(spans, 64 if check.dry else CROPS), strict=True)
    return {"text_a": list(left), "text_b": list(right)}


def contrast(check: Check) -> None:
    """Crops of documents, and pairs, by InfoNCE with an encoder of MiniLM's size, beside SentenceTransformerTrainer in
    bf16."""
    folder, batch = sentence_folder(check), 32 if check.dry else 512
    sections: dict[str, dict[str, Any]] = {
        "crops": {
            "data": {"sequence_length": 128},
            "objective": {"name": "crops", "view": {"name": "crops", **SPANS}},
        },
        "pairs": {
            "data": {"corpus": [], "pairs": str(check.work / "pairs.jsonl"), "sequence_length": 128},
            "objective": {"name": "pairs"},
        },
    }

    def ours(kind: str) -> tuple[float, float]:
        more = {"optimizer": {"name": "adamw", "lr": 1e-4}, "train": {"batch_size": batch}}
        values = settings(check, "modernbert", f"contrast-{kind}", **sections[kind], **more)
        values["model"] = {"pretrained": str(folder)}
        trainer = trainer_by_hand(values)
        speed, peak = throughput(check, trainer, seconds_of(check), WARMUP_STEPS)
        return speed / sum(micro_batch.tokens for micro_batch in trainer.dataset[0]) * 2 * batch, peak

    def theirs(pairs: dict[str, list[str]], attention: str) -> tuple[float, float]:
        from datasets import Dataset
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        clock = Clock(check, seconds_of(check))
        options = {"attn_implementation": attention}
        model = SentenceTransformer(str(folder), device=check.device.type, model_kwargs=options)
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(check.scratch / "peer"), per_device_train_batch_size=batch, max_steps=10**5,
            learning_rate=1e-4, bf16=not check.dry, use_cpu=check.dry, report_to="none", save_strategy="no",
            logging_steps=50, disable_tqdm=True, dataloader_num_workers=0 if check.dry else 4,
        )  # fmt: skip
        loss = MultipleNegativesRankingLoss(model, scale=20.0)
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_dict(pairs), loss=loss, callbacks=[clock]
        ).train()
        return 2 * batch * clock.steps / clock.spent, clock.peak

    for kind in sections:
        pairs = sentence_pairs(check, kind)
        for attention in attentions():
            name = f"{kind} beside SentenceTransformerTrainer (bf16, {attention})"
            own, peer = (lambda kind=kind: ours(kind)), (lambda a=attention, pairs=pairs: theirs(pairs, a))
            check.attempt(name, compare, check, name, "sentences/s", own, peer)


def embedding(check: Check) -> None:
    """Vectors of sentences beside SentenceTransformer.encode at its best batch size; memory beside the weights."""
    from sentence_transformers import SentenceTransformer

    folder = sentence_folder(check)
    lines = (check.work / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text_a"] for line in lines[: 200 if check.dry else 20_000]]
    encoder = load_encoder(folder, device=check.device)
    peer = SentenceTransformer(str(folder), device=check.device.type)

    def timed(act: Callable[[], Any]) -> tuple[float, float]:
        synchronize(check.device)
        held = held_bytes(check.device)
        begin_peak(check.device)
        started = time.perf_counter()
        act()
        synchronize(check.device)
        return len(texts) / (time.perf_counter() - started), peak_bytes(check.device) - held

    def encode(size: int) -> np.ndarray:
        return np.asarray(peer.encode(texts, batch_size=size, show_progress_bar=False))

    error = float(np.abs(encoder.embed(texts[:64]) - encode(32)[:64]).max())
    check.at_most("vectors agree with encode", error, 1e-4)
    best = max((32,) if check.dry else (32, 128, 512), key=lambda size: timed(lambda: encode(size))[0])
    ours, theirs = (lambda: timed(lambda: encoder.embed(texts))), (lambda: timed(lambda: encode(best)))
    compare(check, f"embed beside encode (float32, its best batch {best})", "sentences/s", ours, theirs)
