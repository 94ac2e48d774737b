"""A small labelled set and a fine-tuning run of a few seconds on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.evaluation.folders import save_model, topics
from textssl.config import apply_override, parse_config
from textssl.sections import Config


def write_topics(file: Path, count: int = 150, seed: int = 0, noise: float = 0.1) -> Path:
    """`count` texts of three topics as .jsonl."""
    texts, labels = topics(count, seed, noise)
    return write(file, [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)])


def write_pairs(file: Path, count: int = 90, *, scores: bool) -> Path:
    """Pairs of texts that share their topic or not, with a label or a score of 0 to 5."""
    texts, labels = topics(2 * count, noise=0.1)
    records = []
    for place in range(count):
        other = count + (11 * place + 1) % count  # each text is in one pair: pairs that share one are split together
        same = labels[place] == labels[other]
        target: dict[str, Any] = {"score": 4.5 if same else 0.5} if scores else {"label": "same" if same else "other"}
        records.append({"text_a": texts[place], "text_b": texts[other], **target})
    return write(file, records)


def write_scores(file: Path, count: int = 150, *, factor: float = 1.0, offset: float = 0.0, seed: int = 0) -> Path:
    """Texts of three topics with a score of their topic, 0, 1 or 3, and a little of their place in the list."""
    texts, labels = topics(count, seed, noise=0.1)
    values = {"sea": 0.0, "kitchen": 1.0, "music": 3.0}
    scores = [values[label] + 0.1 * (place % 7) for place, label in enumerate(labels)]
    return write(
        file, [{"text": text, "score": factor * score + offset} for text, score in zip(texts, scores, strict=True)]
    )


def write(file: Path, records: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return file


def finetune_config(folder: Path, *overrides: str, family: str = "bert", out: str = "run") -> Config:
    """A run of 12 steps of 8 texts on FOLDER/topics.jsonl, from a tiny model in FOLDER/FAMILY, both made if missing; in
    float32."""
    model, data = folder / family, folder / "topics.jsonl"
    if not model.is_dir():
        save_model(model, family)
    if not data.is_file():
        write_topics(data)
    values: dict[str, Any] = {
        "out": str(folder / out),
        "data": {"train": str(data), "sequence_length": 48},
        "model": {"pretrained": str(model)},
        "objective": {"name": "auto"},
        "optimizer": {"name": "adamw", "lr": 3e-3},
        "schedule": {"name": "linear", "warmup_fraction": 0.1},
        "train": {"max_steps": 12, "batch_size": 8, "log_every": 4, "checkpoint_every": 4, "precision": "float32"},
        "evaluation": {"every": 4, "baselines": []},
    }
    for override in overrides:
        apply_override(values, override)
    return parse_config(values)
