"""Every part of the check in a process of its own, the most important first; then a table and gpu.json."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scripts.gpu_check.part import act

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "transformers", "sentence-transformers", "accelerate", "tokenizers", "datasets", "numpy")


@dataclass(frozen=True)
class Part:
    """act: module.function of this folder. seconds: after which it is killed; alone: nothing runs beside it, and it may
    take longer as long as the parts after it keep theirs."""

    act: str
    seconds: int
    alone: bool = False

    @property
    def name(self) -> str:
        return self.act.replace(".", "-")


PARTS = [
    *(Part(f"smoke.{name}", 120) for name in ("mlm", "clm", "crops", "static", "classification", "regression")),
    Part("numerics.isolation", 150),
    Part("numerics.all_losses", 120),
    *(Part(f"exactness.{name}", 120) for name in ("repeated", "resumed", "caching", "loader", "terminated", "waits")),
    Part("speed.card", 10, alone=True),
    Part("peers.mlm", 85, alone=True),
    Part("peers.clm", 75, alone=True),
    Part("peers.contrast", 45, alone=True),
    Part("peers.embedding", 25, alone=True),
    Part("speed.cost_of_determinism", 20, alone=True),
    Part("speed.mlm", 35, alone=True),
    Part("speed.clm", 20, alone=True),
]
LONGEST = 150  # seconds of the setup, without which there is nothing to do, and of a part of a dry run
AT_ONCE = {True: 2, False: 5}  # parts side by side, by dry
SETUP_SECONDS, TOGETHER_SECONDS, TOTAL_SECONDS = 45, 120, 480  # as planned; together: the parts side by side
PRELOADED = ("inputs", "runs", "smoke", "numerics", "exactness", "speed", "peers")
ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",  # torch looks for a GPU without initialising CUDA, so that forks can use it
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # parts side by side on few cores wait for each other's


class Runner:
    """Starts parts, ends those that take too long, and keeps what each wrote. act: what the process of a part does."""

    def __init__(self, out: Path, work: Path, dry: bool, seconds: float, act: Callable[..., None] = act):
        self.out, self.work, self.dry, self.act = out, work, dry, act
        self.until = time.monotonic() + seconds
        for folder in ("logs", "parts"):
            shutil.rmtree(out / folder, ignore_errors=True)
            (out / folder).mkdir(parents=True)
        # Parts are forked from one process that has imported everything and never touched the GPU: imports take 16 s.
        self.processes: Any = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload([f"scripts.gpu_check.{module}" for module in PRELOADED])

    def left(self) -> float:
        """Seconds for all that is still to run."""
        return self.until - time.monotonic()

    def run(self, name: str, seconds: float, threads: int | None = None) -> dict[str, Any]:
        """One part; returns its outcome with the rows that it wrote. threads: of its computation on the CPU."""
        seconds = min(seconds, self.left())
        rows = self.out / "parts" / f"{name}.jsonl"
        if seconds < 5:
            return {"part": name, "outcome": "not run: out of time", "seconds": 0.0, "rows": []}
        started = time.monotonic()
        process = self.processes.Process(
            target=self.act, args=(name, self.work, rows, self.dry, self.out / "logs" / f"{name}.log", threads)
        )
        process.start()
        process.join(seconds)
        if process.is_alive():
            outcome = f"ended after {seconds:.0f} s"
        else:
            outcome = "done" if process.exitcode == 0 else f"failed, exit code {process.exitcode}"
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it may have left behind
        process.join()
        lines = rows.read_text(encoding="utf-8").splitlines() if rows.is_file() else []
        spent = time.monotonic() - started
        print(f"{name:<24} {outcome} ({spent:.0f} s)", flush=True)
        found = [json.loads(line) for line in lines]
        return {"part": name, "outcome": outcome, "seconds": round(spent, 1), "rows": found}


def allowed(parts: list[Part], left: float) -> float:
    """Seconds for the first of the parts that run one after another: its own, and what the others need not."""
    first, *later = parts
    return max(first.seconds, left - sum(part.seconds for part in later))


def facts(dry: bool) -> dict[str, Any]:
    """The machine and the versions; the GPU's name is asked of a process of its own: this one never touches the GPU."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU')"
    command = [sys.executable, "-c", code]
    card = "CPU" if dry else subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    return {"card": card or "unknown", "python": platform.python_version(), "versions": versions}


def table(found: list[dict[str, Any]], about: dict[str, Any]) -> str:
    """The findings of all parts as text for people."""
    lines = [
        f"{about['card']}, Python {about['python']}, " + ", ".join(f"{k} {v}" for k, v in about["versions"].items())
    ]
    for part in found:
        lines.append(f"\n{part['part']}: {part['outcome']} ({part['seconds']:.0f} s)")
        for row in part["rows"]:
            mark = {True: "ok ", False: "BAD", None: "   "}[row["passed"]]
            lines.append(f"  {mark} {row['check']:<64} {row['value']}")
    judged = [row["passed"] for part in found for row in part["rows"] if row["passed"] is not None]
    ended = [part for part in found if part["outcome"] != "done"]
    lines.append(f"\n{sum(judged)} passed, {len(judged) - sum(judged)} failed, {len(ended)} parts not finished")
    return "\n".join(lines)


def chosen_parts(only: str | None) -> list[Part]:
    if only is None:
        return PARTS
    names = only.split(",")
    unknown = [name for name in names if not any(part.name.startswith(name) for part in PARTS)]
    if unknown:
        sys.exit(f"there is no part {unknown[0]}; there are {', '.join(part.name for part in PARTS)}")
    return [part for part in PARTS if any(part.name.startswith(name) for name in names)]


def check(out: Path, dry: bool, only: str | None, minutes: float) -> int:
    parts = chosen_parts(only)
    about = facts(dry)
    if not dry and about["card"] in ("CPU", "unknown"):
        sys.exit("there is no GPU that torch can use: scripts/gpu_check.sh --dry-run tries the check on the CPU")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as work:
        runner = Runner(out, Path(work), dry, 60 * minutes)
        found = [runner.run("setup", LONGEST)]
        if found[0]["outcome"] != "done":  # every part reads what it makes
            sys.exit(f"{(out / 'logs' / 'setup.log').read_text(encoding='utf-8')}\nthere is nothing to check with")
        together = [part for part in parts if dry or not part.alone]
        alone = [part for part in parts if part not in together]
        kept = sum(part.seconds for part in alone) * min(1.0, 60 * minutes / TOTAL_SECONDS)
        threads = max(1, (os.cpu_count() or 1) // AT_ONCE[dry])

        def beside_others(part: Part) -> dict[str, Any]:
            return runner.run(part.name, min(LONGEST if dry else part.seconds, runner.left() - kept), threads)

        with ThreadPoolExecutor(AT_ONCE[dry]) as pool:
            found += pool.map(beside_others, together)
        found += [runner.run(part.name, allowed(alone[n:], runner.left())) for n, part in enumerate(alone)]
    about["seconds"] = round(time.monotonic() - started, 1)
    (out / "gpu.json").write_text(json.dumps({**about, "dry_run": dry, "parts": found}, indent=1) + "\n", "utf-8")
    shown = table(found, about)
    (out / "table.txt").write_text(shown + "\n", encoding="utf-8")
    print(f"\n{shown}\n{about['seconds']:.0f} s; {out / 'gpu.json'}, logs in {out / 'logs'}")
    right = all(part["outcome"] == "done" and all(r["passed"] is not False for r in part["rows"]) for part in found)
    return 0 if right else 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/gpu_check.sh", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, at tiny sizes")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu-check")
    parser.add_argument(
        "--only", help="parts, or beginnings of their names, with commas between: smoke,exactness-waits"
    )
    parser.add_argument("--minutes", type=float, default=8.0, help="after which no part begins or goes on")
    given = parser.parse_args()
    os.environ |= ENVIRONMENT | (ONE_THREAD if given.dry_run else {})
    sys.exit(check(given.out, given.dry_run, given.only, given.minutes))


if __name__ == "__main__":
    main()
