"""Is it the same again: repeated runs, resumed runs, gradient caching, the loader beside CUDA, signals, waits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from scripts.gpu_check.check import Check, relative
from scripts.gpu_check.numerics import apart, assembled, step_gradient
from scripts.gpu_check.runs import settings, trainer_by_hand
from textssl.batch import empty_like
from textssl.commands.pretrain import pretrain
from textssl.config import parse_config
from textssl.data.batches.loader import load_steps

SHORT = 20  # steps of a run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def different(one: Path, other: Path) -> list[str]:
    """Names of the weights that are not the same to the bit."""
    first, second = weights(one), weights(other)
    return [name for name in first if not torch.equal(first[name], second[name])]


def run_settings(check: Check, out: str, optimizer: str = "muon", **train: Any) -> dict[str, Any]:
    lengths = {"max_steps": SHORT, "checkpoint_every": SHORT // 2, "batch_size": 8 if check.dry else 32, **train}
    return settings(
        *(check, "modernbert", out),
        model={"dropout": 0.1},
        objective={"name": "mlm"},
        optimizer={"name": optimizer, "lr": 1e-3},
        train=lengths,
    )


def repeated(check: Check) -> None:
    """Two runs from one configuration: to the byte with train.deterministic, and what differs without."""
    for deterministic in (True, False):
        runs = [Path(run_settings(check, f"{deterministic}-{place}")["out"]) for place in range(2)]
        for run in runs:
            pretrain(parse_config({**run_settings(check, run.name, deterministic=deterministic), "out": str(run)}))
        names = different(*runs)
        if deterministic:
            check.true("two runs with train.deterministic give the same bytes", not names, ", ".join(names[:3]))
            continue
        gap = max((relative(weights(runs[0])[name], weights(runs[1])[name]) for name in names), default=0.0)
        check.measured("without it, weights that differ", len(names), f"{len(names)}, by at most {gap:.1e}")


def resumed(check: Check) -> None:
    """A run resumed from its checkpoint gives the bytes of an unbroken one, with fused AdamW and with Muon."""
    for optimizer in ("adamw", "muon"):
        values = run_settings(check, f"whole-{optimizer}", optimizer, deterministic=True)
        pretrain(parse_config(values))
        whole = Path(values["out"])
        broken = whole.with_name(f"broken-{optimizer}")
        shutil.copytree(whole, broken)
        shutil.rmtree(broken / "checkpoints" / f"step-{SHORT:08}")
        shutil.rmtree(broken / "model")
        summary = pretrain(parse_config({**values, "out": str(broken)}))
        names = different(whole, broken)
        went_on = summary.resumed_from == [SHORT // 2]
        check.true(f"{optimizer}: resumed equals unbroken", went_on and not names, ", ".join(names[:3]))


def caching(check: Check) -> None:
    """Gradient caching with dropout gives the gradients of a step that keeps all activations, also compiled."""
    torch.use_deterministic_algorithms(True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for compiled in (False, True):
        trainer = assembled(check, "crops", model={"dropout": 0.1, "pooling": "mean"})
        objective = trainer.objective.to(check.device).train()
        if compiled:
            objective.backbone.backbone.compile(**({"backend": "aot_eager"} if check.dry else {}))
        batches = trainer.dataset[0]
        name = "compiled" if compiled else "as it is"
        live, slopes = step_gradient(objective, batches, check.device, "float32")
        cached, gradients = step_gradient(objective, batches, check.device, "float32", cache=True)
        check.at_most(f"cached loss equals live, {name}", abs(cached - live) / abs(live), 1e-6)
        check.at_most(f"cached gradient equals live, {name}", apart(gradients, slopes), 1e-5)


def loader(check: Check) -> None:
    """Workers that fork after CUDA began give the same batches, pinned; a batch of no samples goes through."""
    pinned = check.device.type == "cuda"
    for name in ("mlm", "crops"):
        trainer = assembled(check, name)
        objective = trainer.objective.to(check.device)
        torch.ones(1, device=check.device).sum().item()
        here: Any = [trainer.dataset[step] for step in range(4)]
        steps = zip(range(4), load_steps(trainer.dataset, range(4), 2, pin=pinned), strict=True)
        same, held = True, True
        for step, batches in steps:
            batch: Any
            for batch, other in zip(batches, here[step], strict=True):
                same &= torch.equal(batch.ids, other.ids) and torch.equal(batch.samples, other.samples)
                held &= batch.ids.is_pinned() == pinned
        check.true(f"{name}: batches of workers are those of the main process", same)
        check.true(f"{name}: they are page-locked", held, "yes" if pinned else "not asked for on a CPU")
        empty = empty_like(here[0][0])
        empty = (empty.pin_memory() if pinned else empty).to(check.device)
        terms, features = objective(empty)
        outputs = [*(term.total for term in terms.values()), *(v for v in features.values() if v.requires_grad)]
        torch.stack([output.sum() for output in outputs]).sum().backward()
        finite = all(bool(torch.isfinite(p.grad).all()) for p in objective.parameters() if p.grad is not None)
        check.true(f"{name}: a batch of no samples", finite and any(p.grad is not None for p in objective.parameters()))


def terminated(check: Check) -> None:
    """SIGTERM in the middle: the step ends, the state is saved, exit code 75, and the run goes on."""
    values = run_settings(check, "terminated", max_steps=100_000)
    file = check.scratch / "run.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = [sys.executable, "-m", "textssl", "pretrain", str(file)]
    run, metrics = Path(values["out"]), Path(values["out"]) / "metrics.jsonl"
    process = subprocess.Popen(command)
    until = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < until:
        if metrics.is_file() and metrics.read_bytes().count(b"\n") > 5:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=60)
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    check.true(
        "SIGTERM ends with 75 after saving", code == 75 and summary["stopped_by"] == "SIGTERM", f"exit code {code}"
    )
    done = subprocess.run([*command, f"train.max_steps={summary['steps'] + 3}"], check=False)
    after = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    check.true("and the run goes on", done.returncode == 0 and after["resumed_from"] == [summary["steps"]])


def waits(check: Check) -> None:
    """How often a step of 4 micro-batches waits for the device, as torch itself counts."""
    if check.device.type != "cuda":
        check.write("waits of a step", None, "only a GPU is waited for")
        return
    cases = {
        "mlm": ("modernbert", {"name": "mlm"}),
        "clm": ("llama", {"name": "clm"}),
        "crops": ("modernbert", {"name": "crops", "view": {"max_tokens": 24}}),
        "static crops": ("static", {"name": "crops", "view": {"max_tokens": 24}}),
    }
    for name, (model, section) in cases.items():
        values = settings(check, model, name, objective=section, train={"batch_size": 64, "micro_batch_size": 16})
        trainer = trainer_by_hand(values)
        for step in range(3):
            batches = trainer.dataset[step]
            totals = trainer.totals(batches)
            batches = [batch.pin_memory().to(check.device) for batch in batches]
            torch.cuda.synchronize()
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                trainer.train_step(batches, totals)
                torch.cuda.set_sync_debug_mode("default")
        messages = [str(one.message) for one in found if "synchroniz" in str(one.message)]  # of the last step
        check.at_most(f"{name}: waits of a step, {len(batches)} micro-batches", len(messages), 1)
