"""Kill and resume: ten SIGKILLs at random of mlm, clm, moco, sum, a refresh, finetune; workers 0 and 2 (35 minutes)."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.labelled import finetune_config  # noqa: E402
from tests.tiny import make_corpus, sentence_config, tiny_config  # noqa: E402
from tests.training.kills import break_and_finish, digest, finish, start  # noqa: E402

REFRESHED = "tests.objectives.clustered:Clustered"  # whose targets are recomputed from the whole corpus every 4 steps
OBJECTIVES = ("mlm", "clm", "moco", "sum", "refreshed", "finetune")


def config_of(folder: Path, objective: str, out: str):
    length = ("train.max_steps=440", "data.window_tokens=8192")  # more than an epoch, in many windows
    options = (*length, "train.checkpoint_every=20", "model.dropout=0.1")
    if objective == "finetune":
        return finetune_config(folder, *options, "evaluation.every=50", "objective.mask_rate=0.1", out=out)
    if objective == "refreshed":
        return tiny_config(folder, REFRESHED, *options, out=out)
    make = tiny_config if objective in ("mlm", "clm") else sentence_config
    return make(folder, objective, *options, out=out)


def main(kills: int, seed: int, objectives: list[str]) -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_corpus(folder)
        for objective in objectives:
            whole = config_of(folder, objective, f"whole-{objective}")
            finish(start(whole))
            print(f"{objective}: unbroken {digest(Path(whole.out))[:16]}", flush=True)
            for workers in (0, 2):
                config = config_of(folder, objective, f"killed-{objective}-{workers}")
                config.train.workers = workers
                broken = break_and_finish(config, Path(whole.out), kills, seed + workers)
                good = (
                    broken.kills == kills and broken.same_bytes and broken.same_metrics and 0 not in broken.resumed_from
                )
                failed += not good
                print(
                    f"{objective}, workers {workers}: {broken.kills} kills, resumed from {broken.resumed_from}, "
                    f"same model bytes {broken.same_bytes}, same losses {broken.same_metrics}",
                    flush=True,
                )
    print(f"{2 * len(objectives) - failed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--objectives", nargs="+", choices=OBJECTIVES, default=list(OBJECTIVES))
    sys.exit(main(**vars(parser.parse_args())))
