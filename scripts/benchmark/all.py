"""Every benchmark beside a peer, one after another: one JSON file and one table, each figure a ratio measured in turns.

    python scripts/benchmark/all.py --out DIR            35 minutes on two idle cores
    python scripts/benchmark/all.py --out DIR --quick    ten minutes or so, with wider errors
    python scripts/benchmark/all.py --out DIR --only prepare-bpe,static

With --openvino-python the peer of MiniLM goes through OpenVINO too (scripts/benchmark/openvino_peer.py).

DIR/benchmarks.json has the machine, the versions and all figures, DIR/benchmarks.md the table, DIR/parts what each
benchmark gave and DIR/logs what it said. Started again, it does what is missing, and what another command, machine or
version made. Peers run as they come and at their best settings here; one that is not installed (model2vec) is left
out. Ends with 1 where a benchmark failed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from scripts.benchmark.figures import Figure, markdown, read  # noqa: E402
from textssl.evaluation.measure import installed_version  # noqa: E402
from textssl.system.hardware import bfloat16_feature  # noqa: E402

BENCHMARKS = {  # name -> script, its arguments, which README's rows have too, and those of a quick look
    "mlm": ("training.py", "--objective mlm --rounds 1 --seconds 20 --minutes 4", "--minutes 0"),
    "clm": ("training.py", "--objective clm --rounds 3 --seconds 16 --minutes 4", "--rounds 1 --minutes 0"),
    "pairs": ("sentences.py", "--seconds 24 --rounds 1", ""),
    "crops-static": (
        "sentences.py",
        "--model static-mini --crops --batch 1024 --rounds 3 --seconds 20",
        "--rounds 1",
    ),
    "pairs-static": ("sentences.py", "--model static-small --seconds 15 --rounds 2", "--rounds 1"),
    "static": ("embedding.py", "--model static --rounds 5", "--rounds 3 --share 0.25"),
    "minilm": ("embedding.py", "--model minilm --texts sentences --rounds 3 --share 0.4", "--rounds 1 --share 0.1"),
    "minilm-documents": (
        "embedding.py",
        "--model minilm --texts documents --rounds 3 --share 0.4",
        "--rounds 1 --share 0.1",
    ),
    "prepare-wordpiece": ("prepare.py", "--wordpiece --input sample:aws-docs --megabytes 100", "--repeats 1"),
    "prepare-bpe": ("prepare.py", "--input sample:aws-docs --megabytes 100", "--repeats 1"),
}
PACKAGES = (
    "torch",
    "transformers",
    "sentence-transformers",
    "accelerate",
    "tokenizers",
    "nanotoken",
    "gigatoken",
    "model2vec",
    "openvino",
    "numpy",
)


def command(name: str, quick: bool, peer: Path | None = None) -> list[str]:
    """What runs a benchmark; a later value of an option holds. peer: a Python for OpenVINOPeer."""
    script, arguments, fewer = BENCHMARKS[name]
    options = [*arguments.split(), *(fewer.split() if quick else [])]
    if peer is not None and "minilm" in options:
        options += ["--openvino-python", str(peer)]
    return ["python", f"scripts/benchmark/{script}", *options]


def run(name: str, words: list[str], out: Path) -> bool:
    """One benchmark, its figures into DIR/parts; whether it ended well. words: its command."""
    part, log = out / "parts" / f"{name}.json", out / "logs" / f"{name}.txt"
    started = time.monotonic()
    print(f"{name}: {' '.join(words)}", flush=True)
    with log.open("w", encoding="utf-8") as file:
        side = part.with_suffix(".tmp")
        given = [sys.executable, *words[1:], "--json", str(side)]
        done = subprocess.run(given, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 0:
        found = {"command": " ".join(words), "machine": machine()}
        found["figures"] = [asdict(figure) for figure in read(side)]
        part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        side.unlink()
    outcome = "done" if done.returncode == 0 else f"failed with {done.returncode}, see {log}"
    print(f"{name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    return done.returncode == 0


def machine() -> dict[str, Any]:
    """The processor, its cores that this process may use, and the versions of what was measured."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "bfloat16": bfloat16_feature(),
        "python": platform.python_version(),
        "versions": {package: installed_version(package) for package in PACKAGES},
    }


def measured(name: str, out: Path) -> dict[str, Any]:
    """The command and the figures of a benchmark; {} where it has not been run here, with these versions."""
    part = out / "parts" / f"{name}.json"
    found = json.loads(part.read_text(encoding="utf-8")) if part.is_file() else {}
    return found if found.get("machine") == machine() else {}


def collect(out: Path) -> None:
    """DIR/benchmarks.json and DIR/benchmarks.md of what has been measured."""
    listed = [{"name": name, **found} for name in BENCHMARKS if (found := measured(name, out))]
    about = machine()
    (out / "benchmarks.json").write_text(json.dumps({"machine": about, "benchmarks": listed}, indent=1) + "\n", "utf-8")
    words = [about["processor"], f"{about['cores']} cores", f"bfloat16: {about['bfloat16'] or 'none'}"]
    words += [f"{package} {number}" for package, number in about["versions"].items()]
    shown = f"{', '.join(words)}\n\n{markdown([Figure(**one) for found in listed for one in found['figures']])}"
    (out / "benchmarks.md").write_text(shown, encoding="utf-8")
    print(f"\n{shown}\n{out / 'benchmarks.json'}, {out / 'benchmarks.md'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="for the figures, the table and the logs")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no time to the peer's loss")
    parser.add_argument("--only", help=f"names with commas between: {', '.join(BENCHMARKS)}")
    parser.add_argument("--openvino-python", type=Path, help="of a Python with sentence-transformers and optimum-intel")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    for folder in ("parts", "logs"):
        (arguments.out / folder).mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        words = command(name, arguments.quick, arguments.openvino_python)
        done = measured(name, arguments.out).get("command") == " ".join(words)
        if not done and not run(name, words, arguments.out):
            failed.append(name)
    collect(arguments.out)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
