"""How fast, in how much memory: each attention, compiled and not, beside the card's own rates; where time goes."""

from __future__ import annotations

import gc
import itertools
import os
import re
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts.gpu_check.check import Check
from scripts.gpu_check.runs import settings, trainer_by_hand
from textssl.assembly.computing import deterministic
from textssl.data.batches.loader import load_steps
from textssl.training.trainer import Trainer

CONFIGS = Path(__file__).parents[2] / "configs"
SECONDS = 4.0  # of a measurement, after its warmup
KINDS = {  # preset, length of a row, rows of a step, rows of a micro-batch, share of the tokens that is predicted
    "mlm": ("modernbert-base", 512, 256, 64, 0.3),
    "clm": ("llama-base", 1024, 128, 64, 1.0),
}


VARIANTS = [  # attention, and whether the backbone is compiled; what the time limit may cut comes last
    *(("varlen", True), ("varlen", False), ("sdpa", False), ("flash_attention_2", False), ("flex_attention", True)),
    *(("sdpa", True), ("flash_attention_2", True), ("flex_attention", False), ("eager", False)),
]
DRY_VARIANTS = [("varlen", False), ("sdpa", False)]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def held_bytes(device: torch.device) -> float:
    """Of tensors that are there now."""
    return float(torch.cuda.memory_allocated()) if device.type == "cuda" else 0.0


def begin_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_bytes(device: torch.device) -> float:
    """The most that tensors took since `begin_peak`."""
    return float(torch.cuda.max_memory_allocated()) if device.type == "cuda" else 0.0


def card(check: Check) -> None:
    """The card's own rates, which everything else is a share of."""
    rate = matrix_rate(check)
    check.measured("matrix products in bfloat16", rate, f"{rate / 1e12:,.1f} TFLOP/s")
    block = torch.ones(2**20 if check.dry else 2**31, dtype=torch.uint8, device=check.device)
    other = torch.empty_like(block)
    seconds = best_seconds(check, lambda: other.copy_(block))
    check.measured("copies in memory", 2 * len(block) / seconds, f"{2 * len(block) / seconds / 1e9:,.0f} GB/s")


def matrix_rate(check: Check) -> float:
    """Floating-point operations a second of a large product on random numbers."""
    size = 256 if check.dry else 8192
    a, b = (torch.randn(size, size, device=check.device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * size**3 / best_seconds(check, lambda: torch.mm(a, b))


def best_seconds(check: Check, act: Any, repeats: int = 10) -> float:
    act()
    times = []
    for _ in range(repeats):
        synchronize(check.device)
        started = time.perf_counter()
        act()
        synchronize(check.device)
        times.append(time.perf_counter() - started)
    return min(times)


def make_trainer(check: Check, kind: str, out: str, attention: str = "auto", compiled: bool = False) -> Trainer:
    """A trainer for steps by hand, as configs/mlm-base-gpu.yaml and clm-base-gpu.yaml have it."""
    preset, length, rows, micro, _ = KINDS[kind]
    values = settings(
        *(check, {"mlm": "modernbert", "clm": "llama"}[kind], out),
        data={} if check.dry else {"sequence_length": length},
        objective={"name": kind},
        optimizer={"name": "muon", "lr": 1e-3},
        train={"compile": compiled}
        if check.dry
        else {"batch_size": rows, "micro_batch_size": micro, "compile": compiled},
    )
    values["model"] |= {"attention": attention, **({} if check.dry else {"preset": preset})}
    return trainer_by_hand(values)


def steps(check: Check, trainer: Trainer):
    """One training step after another, as the trainer's loop makes them; gives the tokens of each."""
    for batches in load_steps(trainer.dataset, itertools.count(), 0 if check.dry else 4, pin=not check.dry):
        totals = trainer.totals(batches)
        trainer.train_step([batch.to(check.device) for batch in batches], totals)
        yield totals.tokens


def throughput(check: Check, trainer: Trainer, seconds: float = SECONDS, warmup: int = 2) -> tuple[float, float]:
    """(tokens a second, peak bytes) of a trainer's steps."""
    made = steps(check, trainer)
    for _ in range(warmup):
        next(made)
    synchronize(check.device)
    begin_peak(check.device)
    started, tokens, least = time.perf_counter(), 0, 2
    while least > 0 or time.perf_counter() - started < (0.2 if check.dry else seconds):
        tokens += next(made)
        least -= 1
    synchronize(check.device)
    spent = time.perf_counter() - started
    made.close()
    return tokens / spent, peak_bytes(check.device)


def flops_per_token(model: Any, length: int, predicted: float) -> float:
    """Useful operations of a training step a token (arXiv:2204.02311, appendix B): 6 for every matrix weight it meets,
    its attention, its head."""
    output = model.get_output_embeddings().weight
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    body = sum(layer.weight.numel() for layer in linear if layer.weight is not output)
    config = model.config
    reach = {
        "full_attention": length,
        "sliding_attention": min(length, 2 * (getattr(config, "sliding_window", 0) or 0)),
    }
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    seen = sum(reach[kind] for kind in kinds) / (2 if config.model_type == "llama" else 1)
    return 6 * body + 12 * config.hidden_size * seen + 6 * predicted * output.numel()


def header_bytes(kind: str) -> float:
    """Bytes of memory by the header of configs/KIND-base-gpu.yaml."""
    text = (CONFIGS / f"{kind}-base-gpu.yaml").read_text(encoding="utf-8")
    return 1e9 * float(re.search(r"About (\d+) GB in all", text)[1])  # type: ignore[index]


def mlm(check: Check) -> None:
    training(check, "mlm")


def clm(check: Check) -> None:
    training(check, "clm")


def training(check: Check, kind: str) -> None:
    """Tokens a second, share of the measured matrix rate, and peak memory, for each attention, compiled and not."""
    rate, (_, length, _, _, predicted) = matrix_rate(check), KINDS[kind]
    variants = DRY_VARIANTS if check.dry else VARIANTS
    for attention, compiled in variants:
        if attention == "flash_attention_2" and not find_spec("flash_attn"):
            continue
        name = f"{kind}, {attention}{', compiled' if compiled else ''}"
        trainer = check.attempt(name, make_trainer, check, kind, name.replace(", ", "-"), attention, compiled)
        found = trainer and check.attempt(name, throughput, check, trainer)
        if found:
            speed, peak = found
            share = speed * flops_per_token(trainer.objective.backbone.model, length, predicted) / rate
            estimate = f", header {header_bytes(kind) / 1e9:.0f} GB"
            shown = f"{speed:,.0f} tokens/s, {share:.0%} of the matrix rate, peak {peak / 1e9:.1f} GB{estimate}"
            check.write(name, None, shown, figure=speed, share=share, peak_bytes=peak)
            if (attention, compiled) == variants[0]:
                check.attempt(f"{name}, profile", profiled, check, name, trainer)
        del trainer
        torch._dynamo.reset()
        free(check.device)


def free(device: torch.device) -> None:
    """What nobody uses any more, trainers among it, whose parts know each other."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def cost_of_determinism(check: Check) -> None:
    """mlm as it is, and with train.deterministic, which `exactness` shows to give the same bytes."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first product
    trainer = make_trainer(check, "mlm", "determinism")
    speeds = {True: 0.0, False: 0.0}
    for _ in range(1 if check.dry else 2):  # in turns
        for on in speeds:
            with deterministic(on):
                speeds[on] = max(speeds[on], throughput(check, trainer, SECONDS / 2)[0])
    ratio = speeds[True] / speeds[False]
    shown = f"{ratio:.2f} ({speeds[True]:,.0f} and {speeds[False]:,.0f} tokens/s)"
    check.write("mlm, train.deterministic beside without", None, shown, figure=ratio)


def profiled(check: Check, name: str, trainer: Trainer) -> None:
    """The kernels that take most of a step, and the share of time in which the GPU does nothing."""
    from torch.autograd import DeviceType  # type: ignore[attr-defined]
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([] if check.dry else [ProfilerActivity.CUDA])
    made = steps(check, trainer)
    next(made)
    synchronize(check.device)
    with profile(activities=activities) as found:
        started = time.perf_counter()
        next(made)
        synchronize(check.device)
        spent = 1e6 * (time.perf_counter() - started)
    made.close()
    wanted = DeviceType.CPU if check.dry else DeviceType.CUDA
    kernels = [event for event in found.key_averages() if event.device_type == wanted and "#" not in event.key]
    used = {event.key: event.self_cpu_time_total if check.dry else event.self_device_time_total for event in kernels}
    busy = sum(used.values())
    waits = 1 - busy / spent
    check.measured(f"{name}: share of time that the GPU waits", waits, "" if check.dry else f"{waits:.0%}")
    for kernel, microseconds in sorted(used.items(), key=lambda one: -one[1])[: 3 if check.dry else 20]:
        check.measured(f"{name}: kernel {kernel[:90]}", microseconds / busy, f"{microseconds / busy:.1%}")
