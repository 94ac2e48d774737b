"""Does it train at all: thirty steps of each kind of run; the loss falls, what is exported loads, evaluate reads it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

import textssl
from scripts.gpu_check.check import Check
from scripts.gpu_check.runs import settings
from textssl.config import parse_config

LOOKED_AT = 5  # steps at the beginning and the end of a run, whose mean losses are compared


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["train/loss"] for line in lines if "train/loss" in line]


def trained(check: Check, values: dict[str, Any]) -> Path:
    """Train as the configuration says and look at the losses; returns the run folder."""
    labels = "data" in values and "train" in values["data"]
    (textssl.finetune if labels else textssl.pretrain)(parse_config(values))
    found = losses(Path(values["out"]))
    first, last = np.mean(found[:LOOKED_AT]), np.mean(found[-LOOKED_AT:])
    check.true("loss falls", bool(last < first), f"{first:.3f} to {last:.3f} in {len(found)} steps")
    return Path(values["out"])


def evaluated(check: Check, model: Path) -> None:
    results = textssl.evaluate(model=model, suite=check.work / "suite.yaml")
    figures = [(name, figure.get("mean")) for task in results["tasks"].values() for name, figure in task.items()]
    finite = bool(figures) and all(mean is not None and math.isfinite(mean) for _, mean in figures)
    check.true("evaluate reads it", finite, ", ".join(f"{name} {mean:.3f}" for name, mean in figures))


def loads(check: Check, model: Path, auto_class: Any) -> None:
    """The stock classes of transformers load the folder and give finite numbers on the device."""
    loaded = auto_class.from_pretrained(model).to(check.device).eval()
    inputs = AutoTokenizer.from_pretrained(model)("The minister said", return_tensors="pt").to(check.device)
    with torch.no_grad():
        logits = loaded(**{name: inputs[name] for name in ("input_ids", "attention_mask")}).logits
    check.true(
        "stock classes load it", bool(torch.isfinite(logits).all()), f"{auto_class.__name__}, {tuple(logits.shape)}"
    )


def mlm(check: Check) -> None:
    run = trained(check, settings(check, "modernbert", "mlm", objective={"name": "mlm"}))
    loads(check, run / "model", AutoModelForMaskedLM)
    evaluated(check, run / "model")


def clm(check: Check) -> None:
    run = trained(check, settings(check, "llama", "clm", objective={"name": "clm"}))
    loads(check, run / "model", AutoModelForCausalLM)
    evaluated(check, run / "model")


def crops(check: Check) -> None:
    sentences(check, "modernbert", {"name": "adamw", "lr": 1e-3})


def static(check: Check) -> None:
    sentences(check, "static", {"name": "adamw", "lr": 2e-2})


def sentences(check: Check, model: str, optimizer: dict[str, Any]) -> None:
    """Contrastive training, then embed, which must agree with sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    values = settings(
        *(check, model, "crops"),
        objective={"name": "crops", "view": {"min_tokens": 4, "max_tokens": 24}},
        optimizer=optimizer,
        train={"batch_size": 64 if check.dry else 256},
    )
    run = trained(check, values)
    texts = [json.loads(line)["text"] for line in (check.work / "held-out.jsonl").read_text("utf-8").splitlines()][:16]
    stock = SentenceTransformer(str(run / "model"), device=check.device.type).encode(texts)
    for compute, bound in (("float32", 1e-4), ("auto", 1e-2)):  # the second in bfloat16 where the card has it
        out = check.scratch / f"{compute}.npy"
        textssl.embed(model=run / "model", input=[check.work / "held-out.jsonl"], out=out, compute=compute)
        error = float(np.abs(np.load(out)[: len(texts)] - stock).max())
        check.at_most(f"embed agrees with sentence-transformers, {compute}", error, bound)
    evaluated(check, run / "model")


def classification(check: Check) -> None:
    labels(check, "labelled.jsonl", "classification")


def regression(check: Check) -> None:
    labels(check, "scored.jsonl", "regression")


def labels(check: Check, file: str, objective: str) -> None:
    values = settings(
        *(check, "modernbert", objective),
        data={"corpus": [], "train": str(check.work / file), "sequence_length": 64},
        objective={"name": objective},
        optimizer={"name": "adamw", "lr": 1e-3},
        evaluation={"baselines": ["majority"]},
    )
    run = trained(check, values)
    loads(check, run / "model", AutoModelForSequenceClassification)
    answers = check.scratch / "answers.jsonl"
    textssl.predict(model=run / "model", input=[check.work / file], out=answers)
    rows = len(answers.read_text(encoding="utf-8").splitlines())
    check.true(
        "predict answers every text", rows == len((check.work / file).read_text("utf-8").splitlines()), f"{rows}"
    )
    evaluated(check, run / "model")
