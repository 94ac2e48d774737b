"""Beside the peers, in turns: transformers.Trainer, sentence-transformers' trainer and its encode."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmark.training import concatenated
from scripts.gpu_check.check import Check
from scripts.gpu_check.runs import TINY, settings, trainer_by_hand
from scripts.gpu_check.speed import KINDS, make_trainer, synchronize, throughput
from textssl import tokenizer
from textssl.inference.encoders import load_encoder
from textssl.models.build import build_model
from textssl.models.sentence import build_sentence_model
from textssl.sections import ModelConfig

ROUNDS, WARMUP_STEPS = 2, 3
MINILM = {
    "model_type": "bert",
    "num_hidden_layers": 6,
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "attention_probs_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
}


def compare(
    check: Check, name: str, unit: str, ours: Callable[[], float], theirs: Callable[[], float], rounds: int = ROUNDS
) -> None:
    """Both sides in turns; their ratio is the median over the rounds."""
    found = [(ours(), theirs()) for _ in range(1 if check.dry else rounds)]
    ratio = statistics.median(own / peer for own, peer in found)
    speeds = [statistics.median(side) for side in zip(*found, strict=True)]
    shown = f"{ratio:.2f} ({speeds[0]:,.0f} and {speeds[1]:,.0f} {unit})"
    check.write(name, None, shown, figure=ratio, ours=speeds[0], theirs=speeds[1])


class Clock:
    """A callback of transformers' trainers: the speed of the steps after the first few, until the time is over."""

    def __new__(cls, check: Check, seconds: float):
        from transformers import TrainerCallback

        class Callback(TrainerCallback):
            started, steps, spent = 0.0, 0, 0.0

            def on_step_end(self, args, state, control, **_):
                if state.global_step == WARMUP_STEPS:
                    synchronize(check.device)
                    self.started = time.perf_counter()
                elif self.started:
                    self.steps = state.global_step - WARMUP_STEPS
                    if self.steps >= 2 and time.perf_counter() - self.started > seconds:
                        synchronize(check.device)
                        self.spent = time.perf_counter() - self.started
                        control.should_training_stop = True

        return Callback()


def seconds_of(check: Check) -> float:
    return 0.2 if check.dry else 5.0


def pretraining(check: Check) -> None:
    """mlm of 150M parameters, compiled as its configuration says, beside transformers.Trainer in bf16: as that comes,
    with flash-attn where it is there, and compiled."""
    _, length, rows, micro, rate = KINDS["mlm"]
    if check.dry:
        length, rows, micro = 64, 8, 4
    words = tokenizer.load(check.work / "tokenizer")
    data = concatenated(check.work / "corpus", words, length)

    trainer = make_trainer(check, "mlm", "peer", compiled=not check.dry)

    def ours() -> float:
        return throughput(check, trainer, seconds_of(check))[0]

    def theirs(attention: str = "sdpa", compiled: bool = False) -> float:
        from datasets import Dataset
        from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

        spec = settings(check, "modernbert", "peer")["model"] if check.dry else {"preset": KINDS["mlm"][0]}
        chosen = ModelConfig.model_validate({**spec, "attention": attention})
        model = build_model(chosen, words, causal=False, sequence_length=length, seed=0)
        clock = Clock(check, seconds_of(check))
        arguments = TrainingArguments(
            output_dir=str(check.scratch / "trainer"), per_device_train_batch_size=micro, max_steps=10**6,
            gradient_accumulation_steps=rows // micro, bf16=not check.dry, use_cpu=check.dry, report_to="none",
            save_strategy="no", logging_steps=50, disable_tqdm=True, dataloader_num_workers=0 if check.dry else 4,
            learning_rate=1e-4, torch_compile=compiled,
        )  # fmt: skip
        collator = DataCollatorForLanguageModeling(words, mlm=True, mlm_probability=rate)
        Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(data), data_collator=collator,
                callbacks=[clock]).train()  # fmt: skip
        return clock.steps * rows * length / clock.spent

    compare(check, "mlm beside transformers.Trainer (bf16, sdpa)", "tokens/s", ours, theirs)
    if find_spec("flash_attn"):
        name = "mlm beside transformers.Trainer (bf16, flash)"
        compare(check, name, "tokens/s", ours, lambda: theirs("flash_attention_2"))
    if not check.dry:
        name = "mlm beside transformers.Trainer (bf16, sdpa, compiled)"
        compare(check, name, "tokens/s", ours, lambda: theirs(compiled=True), rounds=1)


def sentence_folder(check: Check) -> Path:
    """An untrained encoder of MiniLM's size, which both sides begin with."""
    words = tokenizer.load(check.work / "tokenizer")
    config = {**MINILM, **TINY} if check.dry else MINILM
    model = build_sentence_model(ModelConfig(config=config), words, head=None, sequence_length=128, seed=0)
    model.max_seq_length = 128
    return model.export(check.scratch / "encoder", words)


def contrast(check: Check) -> None:
    """Pairs by InfoNCE with an encoder of MiniLM's size, beside SentenceTransformerTrainer in bf16."""
    folder, batch = sentence_folder(check), 32 if check.dry else 512

    def ours() -> float:
        values = settings(
            *(check, "modernbert", "contrast"),
            data={"corpus": [], "pairs": str(check.work / "pairs.jsonl"), "sequence_length": 128},
            objective={"name": "pairs"},
            optimizer={"name": "adamw", "lr": 1e-4},
            train={"batch_size": batch},
        )
        values["model"] = {"pretrained": str(folder)}
        trainer = trainer_by_hand(values)
        speed, _ = throughput(check, trainer, seconds_of(check), WARMUP_STEPS)
        return speed / sum(micro_batch.tokens for micro_batch in trainer.dataset[0]) * 2 * batch

    def theirs() -> float:
        from datasets import Dataset
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
        )
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        model = SentenceTransformer(str(folder), device=check.device.type)
        rows = [json.loads(line) for line in (check.work / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
        pairs = Dataset.from_dict({key: [row[key] for row in rows] for key in ("text_a", "text_b")})
        clock = Clock(check, seconds_of(check))
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(check.scratch / "peer"), per_device_train_batch_size=batch, max_steps=10**5,
            learning_rate=1e-4, bf16=not check.dry, use_cpu=check.dry, report_to="none", save_strategy="no",
            logging_steps=50, disable_tqdm=True, dataloader_num_workers=0 if check.dry else 4,
        )  # fmt: skip
        loss = MultipleNegativesRankingLoss(model, scale=20.0)
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=pairs, loss=loss, callbacks=[clock]
        ).train()
        return 2 * batch * clock.steps / clock.spent

    compare(check, "pairs beside SentenceTransformerTrainer (bf16)", "sentences/s", ours, theirs)


def embedding(check: Check) -> None:
    """Vectors of sentences beside SentenceTransformer.encode at its best batch size."""
    from sentence_transformers import SentenceTransformer

    folder = sentence_folder(check)
    lines = (check.work / "pairs.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text_a"] for line in lines[: 200 if check.dry else 20_000]]
    encoder = load_encoder(folder, device=check.device)
    peer = SentenceTransformer(str(folder), device=check.device.type)

    def timed(act: Callable[[], Any]) -> float:
        synchronize(check.device)
        started = time.perf_counter()
        act()
        synchronize(check.device)
        return len(texts) / (time.perf_counter() - started)

    def encode(size: int) -> np.ndarray:
        return np.asarray(peer.encode(texts, batch_size=size, show_progress_bar=False))

    error = float(np.abs(encoder.embed(texts[:64]) - encode(32)[:64]).max())
    check.at_most("vectors agree with encode", error, 1e-4)
    best = max((32,) if check.dry else (32, 128, 512), key=lambda size: timed(lambda: encode(size)))
    ours, theirs = (lambda: timed(lambda: encoder.embed(texts))), (lambda: timed(lambda: encode(best)))
    compare(check, f"embed beside encode (float32, its best batch {best})", "sentences/s", ours, theirs)
