"""Fine-tuning on bbc, trec, sms and movies beside TF-IDF and random weights: what pretraining bought (an hour).

python scripts/verify/finetuning.py --model runs/mlm/model --out runs/finetuning       from your own model
python scripts/verify/finetuning.py --model sample:minilm optimizer.lr=5e-5            with other keys

Each set is split as `textssl finetune` splits it, every class alike: 20 % to test, a tenth of the rest to choose the
checkpoint. TF-IDF with logistic regression also learns from that tenth. Exits 0 where the model is at or above TF-IDF
on at least --least sets and above the same architecture from random weights on all of them, by accuracy.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LENGTHS = {"bbc": 128, "trec": 32, "sms": 64, "movies": 64}  # tokens that are read; only texts of bbc are longer


def run(name: str, model: str, out: Path, seeds: int, overrides: list[str]) -> dict[str, Any]:
    import textssl

    given = [
        f"model.pretrained={model}",
        f"data.train=sample:{name}",
        f"data.sequence_length={LENGTHS[name]}",
        f"out={out / name}",
        f"train.num_seeds={seeds}",
        "evaluation.baselines=[tfidf, scratch]",
    ]
    with contextlib.redirect_stdout(sys.stderr):
        result = textssl.finetune(ROOT / "configs" / "classification.yaml", [*given, *overrides])
    return {"fine-tuned": result.test, **{name: result.baselines.get(name) for name in ("tfidf", "scratch")}}


def cell(figure: dict[str, Any] | None) -> str:
    """A mean and half its interval; overrides may have left a baseline out."""
    return "-" if figure is None else f"{figure['mean']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"


def main(model: str, out: Path | None, seeds: int, least: int, sets: list[str], overrides: list[str]) -> int:
    print("| set | fine-tuned | TF-IDF, linear | from random weights |\n| --- | ---: | ---: | ---: |", flush=True)
    above_words = above_random = 0
    with tempfile.TemporaryDirectory() as temporary:
        for name in sets:
            found = run(name, model, out or Path(temporary), seeds, overrides)
            values = {who: figures and figures["accuracy"] for who, figures in found.items()}
            print(f"| {name} | " + " | ".join(map(cell, values.values())) + " |", flush=True)
            ours, words, scratch = ((figure or {"mean": 1.0})["mean"] for figure in values.values())
            above_words += ours >= words
            above_random += ours > scratch
    print(f"at or above TF-IDF on {above_words} of {len(sets)}, above random weights on {above_random}")
    passed = (above_words >= least) + (above_random == len(sets))
    print(f"{passed} passed, {2 - passed} failed")
    return int(passed < 2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", type=Path, help="keep the runs there; default: a temporary folder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--least", type=int, default=3, help="sets on which TF-IDF has to be reached")
    parser.add_argument("--sets", type=lambda names: names.split(","), default=list(LENGTHS), metavar="NAME,NAME")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    sys.exit(main(**vars(parser.parse_args())))
