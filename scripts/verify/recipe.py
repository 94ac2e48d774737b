"""The recipe of configs/crops.yaml on sample news: figures over seeds, from text to model in six minutes (3 minutes).

python scripts/verify/recipe.py --seeds 3                             the recipe
python scripts/verify/recipe.py --seeds 3 objective.view.max_gap=null      with another key: what it is worth

Every seed trains a tokenizer of its own, prepares the corpus, trains, and is judged on whole test sets: 8 labels a
class on bbc and trec (10 draws), and the sentence pairs of STS-B dev. Exits 0 where every mean reaches its target in
time.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
TARGETS = {"bbc": 0.92, "trec": 0.42, "sts": 0.78}
SECONDS = 360.0


def train(folder: Path, seed: int, config: Path, overrides: list[str]) -> float:
    """Make FOLDER/run/model; returns the seconds from the text to the model."""
    import textssl

    started = time.perf_counter()
    textssl.train_tokenizer(input=["sample:news"], out=folder / "tokenizer", algorithm="wordpiece", lowercase=True)
    textssl.prepare(input=["sample:news"], tokenizer=str(folder / "tokenizer"), out=folder / "corpus")
    given = [f"tokenizer={folder / 'tokenizer'}", f"data.corpus={folder / 'corpus'}", f"out={folder / 'run'}"]
    textssl.pretrain(config, [*given, f"seed={seed}", "train.checkpoint_every=null", *overrides])
    return time.perf_counter() - started


def score(model: Path) -> dict[str, float]:
    from textssl.evaluation.tasks.classification import Classification
    from textssl.evaluation.tasks.similarity import Similarity
    from textssl.inference.encoders import load_encoder

    encoder = load_encoder(model)
    found = {}
    for name in ("bbc", "trec"):
        figures = dict(Classification(name, f"sample:{name}", shots=(8,)).run(encoder))
        found[name] = figures["probe_8"].mean
    found["sts"] = dict(Similarity("sts", "sample:sts/dev").run(encoder))["spearman"].mean
    return found


def main(seeds: int, config: Path, overrides: list[str]) -> int:
    rows, times = [], []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
            times.append(train(Path(name), seed, config, overrides))
            rows.append(score(Path(name) / "run" / "model"))
        figures = "  ".join(f"{task} {value:.3f}" for task, value in rows[-1].items())
        print(f"seed {seed}: {figures}  {times[-1]:.0f} s", flush=True)
    means = {task: float(np.mean([row[task] for row in rows])) for task in TARGETS}
    reached = {task: means[task] >= target for task, target in TARGETS.items()}
    print("mean:   " + "  ".join(f"{task} {means[task]:.3f} (target {target})" for task, target in TARGETS.items()))
    in_time = max(times) <= SECONDS
    passed = sum(reached.values()) + in_time
    print(f"{passed} passed, {4 - passed} failed")
    return int(passed < 4)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "crops.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    sys.exit(main(**vars(parser.parse_args())))
