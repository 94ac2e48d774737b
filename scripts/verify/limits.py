"""Memory: a model too large for one process's limit trains sharded over 4, and not replicated (5 minutes).

Each process gets a limit on its data (RLIMIT_DATA: heap and private mappings), so much above what it has once all is
imported: less than parameters, gradients and AdamW's state of the whole model, more than a quarter of them with what is
whole for a moment. On one process and on four that replicate, the run has to end with exit code 2, one message about
memory, and no traceback; on four that shard it makes all its steps.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from scripts.memory import build, held  # noqa: E402
from tests.tiny import make_corpus, tiny_tokenizer  # noqa: E402

MODEL = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
}
STEPS = 3
SHARE = 0.7  # of the bytes of the whole model's state: the limit, above what a process has at the start
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}  # of glibc: freed memory of this size, in bytes, does not count
CASES = ((1, "1", False), (4, "1", False), (4, "all", True))  # processes, train.shard, whether it has to train


def data_bytes() -> int:
    """What counts against RLIMIT_DATA now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmData:"))


def rank(limit: int, words: list[str]) -> None:
    """The command line within a limit, in bytes above what the process has now."""
    from textssl.__main__ import main
    from textssl.commands.pretrain import pretrain  # noqa: F401 - imported, so that libraries do not count

    most = data_bytes() + limit
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    sys.argv = ["textssl", *words]
    main()


def words_of(folder: Path, shard: str, out: str) -> list[str]:
    values = {
        "tokenizer": folder / "tokenizer",
        "data.corpus": folder / "corpus",
        "data.sequence_length": 64,
        "model": json.dumps({"config": MODEL}),
        "optimizer.name": "adamw",
        "train.device": "cpu",
        "train.precision": "float32",
        "train.max_steps": STEPS,
        "train.batch_size": 8,
        "train.log_every": 1,
        "train.checkpoint_every": "null",
        "train.timeout_seconds": 60,
        "evaluation.every": "null",
        "evaluation.suite": "null",
        "train.shard": shard,
        "out": folder / out,
    }
    return ["pretrain", "clm", *(f"{key}={value}" for key, value in values.items())]


def main(folder: Path) -> int:
    from tests.forked import Ranks

    make_corpus(folder)
    module = build({**MODEL, "vocab_size": len(tiny_tokenizer())})
    whole, quarter = (held(module, "adamw", shards) for shards in (1, 4))
    limit = int(SHARE * whole.total)
    print(
        f"{sum(one.numel() for one in module.parameters()) / 1e6:.0f}M parameters: they, gradients and state take "
        f"{whole.total / 2**20:,.0f} MB whole and {quarter.total / 2**20:,.0f} MB of four parts; a process may take "
        f"{limit / 2**20:,.0f} MB more than it has at the start",
        flush=True,
    )
    wrong = 0
    for processes, shard, trains in CASES:
        out, began = f"run-{processes}-{shard}", time.monotonic()
        ranks = Ranks(["-m", "scripts.verify.limits", "--rank", str(limit), *words_of(folder, shard, out)], processes)
        _, errors = ranks.communicate()
        told = [line for line in errors.splitlines() if "not enough memory" in line]
        summary = folder / out / "summary.json"
        made = summary.is_file() and json.loads(summary.read_text())["parameters"] > 0
        if trains:
            good = ranks.returncode == 0 and made
        else:
            good = ranks.returncode == 2 and bool(told) and "Traceback" not in errors and not made
        wrong += not good
        losses = [json.loads(line).get("train/loss") for line in metrics_of(folder / out)]
        curve = ", ".join(f"{loss:.3f}" for loss in losses if loss)
        result = f"losses {curve}" if made else (told or [errors[-3000:]])[0]
        print(
            f"{processes} process{'es' * (processes > 1)}, train.shard={shard}: exit code {ranks.returncode} after "
            f"{time.monotonic() - began:.0f} s{'' if good else ' FAILED'}\n    {result}",
            flush=True,
        )
        if not good:
            print(errors[-3000:])
    print("holds" if not wrong else f"{wrong} of {len(CASES)} failed")
    return int(wrong > 0)


def metrics_of(run: Path) -> list[str]:
    file = run / "metrics.jsonl"
    return file.read_text().splitlines() if file.is_file() else []


if __name__ == "__main__":
    if sys.argv[1:2] == ["--rank"]:
        rank(int(sys.argv[2]), sys.argv[3:])
    else:
        argparse.ArgumentParser(description=__doc__).parse_args()
        os.environ.update(GIVEN_BACK, OMP_NUM_THREADS="1")
        with tempfile.TemporaryDirectory() as name:
            sys.exit(main(Path(name)))
