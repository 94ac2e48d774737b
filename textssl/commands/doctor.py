"""`textssl doctor`: what this machine has, what a run would use of it, and how to get what is missing."""

from __future__ import annotations

import json as json_format
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from textssl import __version__
from textssl.data.samples.cache import cache_folder
from textssl.errors import printable
from textssl.models.attention.dense import DENSE
from textssl.models.attention.varlen import COMPUTE_CAPABILITY, VARLEN
from textssl.named_configs import repository
from textssl.system.hardware import DENSE_BELOW, bfloat16_feature, bfloat16_matrices, native_bfloat16
from textssl.system.threads import CGROUP, choose_threads, usable_cores
from textssl.training.precision import choose_precision

REQUIRED = (
    *("torch", "transformers", "tokenizers", "huggingface_hub", "datasets", "accelerate", "sentence-transformers"),
    *("safetensors", "numpy", "scikit-learn", "scipy", "psutil", "pydantic", "typer", "rich", "PyYAML", "pyarrow"),
    *("zstandard", "sentencex", "rensa"),
)
EXTRAS = {  # extra of pyproject.toml: (its packages, what they are for)
    "eval": (("mteb", "lm-eval"), "standard benchmarks"),
    "fast": (("gigatoken", "nanotoken"), "engines that tokenize many times faster"),
    "track": (("tensorboard",), "live curves (train.tensorboard)"),
    "ray": (("ray",), "corpora and vectors by many machines (--engine ray)"),
    "export": (("openvino", "onnxruntime"), "encoders that were exported to OpenVINO or ONNX"),
    "notebooks": (("matplotlib", "nbformat", "nbclient", "ipykernel"), "notebooks and their pictures"),
    "dev": (
        ("pytest", "pytest-xdist", "hypothesis", "ruff", "pyright", "pre-commit", "tensorboard"),
        "work on textssl itself, with eval, fast and notebooks",
    ),
}
GIB = 2**30


def doctor(json: bool = False) -> dict[str, Any]:
    """Print and return versions, hardware, devices with their precision, extras and the cache folder.

    json: print the returned value as JSON instead of tables.
    """
    found = examine()
    if json:
        print(json_format.dumps(found, indent=2))
    else:
        show(found, Console())
    return found


def examine() -> dict[str, Any]:
    """Everything that doctor says, as plain values; memory and disk in bytes."""
    devices = [cpu_device(), *(cuda_device(index) for index in range(torch.cuda.device_count()))]
    return {
        "textssl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed(name) for name in REQUIRED},
        "extras": {extra: describe_extra(extra) for extra in EXTRAS},
        "cores": usable_cores(),
        "memory_bytes": memory_bytes(),
        "devices": devices,
        "default_device": "cuda" if len(devices) > 1 else "cpu",
        "cache": describe_cache(cache_folder()),
    }


def installed(name: str) -> str | None:
    """Version of a distribution, None when it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def describe_extra(extra: str) -> dict[str, Any]:
    packages, purpose = EXTRAS[extra]
    versions = {name: installed(name) for name in packages}
    missing = [name for name, found in versions.items() if found is None]
    return {"for": purpose, "packages": versions, "missing": missing, "install": install(extra) if missing else None}


def install(extra: str) -> str:
    """The command that adds an extra: in a checkout with the tested set of packages, else to the installed package."""
    return f"pip install -c constraints.txt -e '.[{extra}]'" if repository() else f"pip install 'textssl[{extra}]'"


def memory_bytes(root: Path = CGROUP) -> int | None:
    """Physical memory, or the container's limit where that is lower; None where the system does not say."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    limits = (root / "memory.max", root / "memory" / "memory.limit_in_bytes")  # of version 2 and 1
    text = next((file.read_text().strip() for file in limits if file.is_file()), "max")
    return min(total, int(text)) if text.isdigit() else total


def cpu_device() -> dict[str, Any]:
    """The threads and the precision of a run, and whether bfloat16 is native: it is 50 to 100 times slower where it is
    not."""
    threads = choose_threads()
    abilities = torch.cpu.get_capabilities()
    processor = abilities.get("cpu_name") or platform.processor() or platform.machine()
    feature = bfloat16_feature()
    asked = f"native bfloat16 here ({feature})"
    dense = f", with dense attention below {DENSE_BELOW} tokens"
    asked += dense if bfloat16_matrices() else ": try train.precision=bfloat16"
    return {
        "device": "cpu",
        "name": f"{processor}, {threads}",
        "threads": threads.count,
        "memory_bytes": memory_bytes(),
        "precision": choose_precision(cuda=False),
        "native_bfloat16": feature is not None,
        "why": asked if feature else "no native bfloat16 on this processor",
        "attention": [DENSE, "sdpa", "eager"] if bfloat16_matrices() else ["sdpa", "eager"],
        "attention_note": "documents isolated by a block mask",
    }


def cuda_device(index: int) -> dict[str, Any]:
    """bfloat16 where it is native (compute capability 8.0 on), which flash attention's kernels need too."""
    properties = torch.cuda.get_device_properties(index)
    with torch.cuda.device(index):
        native = native_bfloat16(cuda=True)
    recent = (properties.major, properties.minor) >= COMPUTE_CAPABILITY
    flash = ["flash_attention_2"] if installed("flash-attn") is not None else []
    return {
        "device": f"cuda:{index}",
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "precision": choose_precision(cuda=True),
        "native_bfloat16": native,
        "why": f"{'' if native else 'no '}native bfloat16 (compute capability {properties.major}.{properties.minor})",
        "attention": [*([VARLEN, *flash] if recent else []), "sdpa", "flex_attention", "eager"],
        "attention_note": "documents isolated by cumulative lengths, without a mask"
        if recent
        else "documents isolated by a mask: flash attention's kernels need compute capability 8.0",
    }


def describe_cache(folder: Path) -> dict[str, Any]:
    """Where samples are kept, and the disk space left there."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    return {
        "folder": str(folder),
        "used_bytes": used,
        "free_bytes": shutil.disk_usage(existing).free,
        "writable": os.access(existing, os.W_OK),
    }


def show(found: dict[str, Any], console: Console) -> None:
    """The findings as tables."""
    console.print(f"[bold]textssl {found['textssl']}[/bold], Python {found['python']}, {found['platform']}")
    console.print(f"{found['cores']} cores, {gib(found['memory_bytes'])} memory", highlight=False)
    cache = found["cache"]
    console.print(
        f"cache {escape(printable(cache['folder']))}: {gib(cache['used_bytes'])} used, {gib(cache['free_bytes'])} free"
        + ("" if cache["writable"] else " [red](not writable; set TEXTSSL_CACHE)[/red]"),
        highlight=False,
    )
    devices = Table(title="Devices", title_justify="left")
    for column in ("device", "memory", "precision", "attention"):
        devices.add_column(column, overflow="fold")
    for device in found["devices"]:
        devices.add_row(
            f"{device['device']}\n[dim]{device['name']}[/dim]",
            gib(device["memory_bytes"]),
            f"{device['precision']}\n[dim]{device['why']}[/dim]",
            f"{', '.join(device['attention'])}\n[dim]{device['attention_note']}[/dim]",
        )
    console.print(devices)
    show_packages(found, console)


def show_packages(found: dict[str, Any], console: Console) -> None:
    """Versions, then one command on its own line for each extra that lacks something."""
    extras = found["extras"].items()
    packages = Table(title="Packages", title_justify="left")
    for column in ("extra", "for", "packages"):
        packages.add_column(column, overflow="fold")
    packages.add_row("(required)", "everything", versions(found["packages"]))
    for extra, state in extras:
        packages.add_row(extra, state["for"], versions(state["packages"]))
    console.print(packages)
    for extra, state in extras:
        if state["missing"]:
            where = " in the repository" if repository() else ""
            missing = f"{extra} lacks {', '.join(state['missing'])}; to add them{where}:"
            console.print(missing, style="yellow", highlight=False)
            console.print(f"  {state['install']}", markup=False, highlight=False, soft_wrap=True)


def versions(packages: dict[str, str | None]) -> str:
    """Names and versions as one line of rich markup."""
    return ", ".join(
        f"{name} {found}" if found else f"[yellow]{name} missing[/yellow]" for name, found in packages.items()
    )


def gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / GIB:.1f} GiB"
