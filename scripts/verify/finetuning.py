"""Fine-tuning on bbc, trec, sms and movies beside TF-IDF and random weights: what pretraining bought (an hour or two).

python scripts/verify/finetuning.py --minutes 30 --out runs/finetuning       pretrain an encoder first, for so long
python scripts/verify/finetuning.py --minutes 30 -p train.batch_size=32      with another key of pretraining
python scripts/verify/finetuning.py --model runs/mlm/model                   from a model of your own
python scripts/verify/finetuning.py --model sample:minilm optimizer.lr=1e-4  with other keys

Pretraining is configs/mlm.yaml with a lowercase WordPiece tokenizer on news, newsgroups and the training texts of the
four sets, without their labels. Each set is split as `textssl finetune` splits it, every class alike: 20 % to test, a
tenth of the rest to choose the checkpoint. TF-IDF with logistic regression also learns from that tenth. Exits 0 where
the model is at or above TF-IDF on at least --least sets and above the same architecture from random weights on all of
them, by accuracy.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LENGTHS = {"bbc": 256, "trec": 32, "sms": 64, "movies": 64}  # tokens that are read; only texts of bbc are longer


MIXTURE = {"news": 3.0, "newsgroups": 3.0, "bbc": 1.5, "short": 2.5}  # shares of the rows


def pretrain(folder: Path, minutes: float, overrides: list[str]) -> Path:
    """FOLDER/run/model, trained for so long on text that holds none of the validation and test texts."""
    import textssl

    texts = {"news": "sample:news", "newsgroups": "sample:newsgroups/train"}
    texts["bbc"] = str(training_texts(folder / "bbc", ["bbc"]))
    texts["short"] = str(training_texts(folder / "short", ["trec", "sms", "movies"]))
    tokenizer = folder / "tokenizer"
    textssl.train_tokenizer(input=list(texts.values()), out=tokenizer, algorithm="wordpiece", lowercase=True)
    for name, source in texts.items():
        textssl.prepare(input=[source], tokenizer=str(tokenizer), out=folder / f"corpus-{name}")
    shares = ", ".join(f"{{path: {folder / f'corpus-{name}'}, weight: {weight}}}" for name, weight in MIXTURE.items())
    given = [f"tokenizer={tokenizer}", f"data.corpus=[{shares}]", f"out={folder / 'run'}"]
    textssl.pretrain(ROOT / "configs" / "mlm.yaml", [*given, f"train.max_seconds={minutes * 60}", *overrides])
    return folder / "run" / "model"


def training_texts(folder: Path, names: list[str]) -> Path:
    """A folder of NAME.jsonl with the texts that `textssl finetune` trains on."""
    from textssl.data.labelled.splits import read_splits
    from textssl.sections import DataConfig

    folder.mkdir(parents=True)
    for name in names:
        train = read_splits(DataConfig(train=f"sample:{name}"), 0, "label").train
        lines = (json.dumps({"text": text}) + "\n" for text in train.texts)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


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
    if result.stopped_by is not None:
        sys.exit(75)  # as the command does: it has saved, and said so
    return {"fine-tuned": result.test, **{name: result.baselines.get(name) for name in ("tfidf", "scratch")}}


def cell(figure: dict[str, Any] | None) -> str:
    """A mean and half its interval; overrides may have left a baseline out."""
    return "-" if figure is None else f"{figure['mean']:.3f} ±{(figure['high'] - figure['low']) / 2:.3f}"


def main(
    model: str | None,
    minutes: float | None,
    pretraining: list[str],
    out: Path | None,
    seeds: int,
    least: int,
    sets: list[str],
    overrides: list[str],
) -> int:
    above_words = above_random = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = out or Path(temporary)
        if minutes is not None:
            with contextlib.redirect_stdout(sys.stderr):
                model = str(pretrain(folder / "pretraining", minutes, pretraining))
        print("| set | fine-tuned | TF-IDF, linear | from random weights |\n| --- | ---: | ---: | ---: |", flush=True)
        for name in sets:
            found = run(name, str(model), folder, seeds, overrides)
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
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--model", help="a model folder, or sample:minilm")
    start.add_argument("--minutes", type=float, help="pretrain an encoder, for so long")
    parser.add_argument(
        *("--pretraining", "-p"), action="append", default=[], metavar="KEY=VALUE", help="a key of that pretraining"
    )
    parser.add_argument("--out", type=Path, help="keep the runs there; default: a temporary folder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--least", type=int, default=3, help="sets on which TF-IDF has to be reached")
    parser.add_argument("--sets", type=lambda names: names.split(","), default=list(LENGTHS), metavar="NAME,NAME")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    sys.exit(main(**vars(parser.parse_args())))
