"""Options of a method that makes vectors, tried on sample:news: which encoder, view and weights probe best on bbc.

python scripts/benchmark/search.py byol --inputs FOLDER --out search.jsonl              one run of 45 s after another
python scripts/benchmark/search.py barlow vicreg --inputs FOLDER --out search.jsonl --runs 2
python scripts/benchmark/search.py crops moco simcse byol simsiam barlow vicreg whitening sigreg swav deepcluster cpc \\
    order tsdae --inputs FOLDER --out search.jsonl                                     every method, about two hours

FOLDER holds tok/ and corpus/ and is made if it is missing. One group of options after another is gone through, each
choice on top of the best ones so far. A result is a line of --out: the options, the probe with 8 labels a class on bbc
with its interval, the same of the untrained model, steps and RankMe. Runs whose line is there are not repeated, so that
a search goes on where it was stopped; --runs ends it after so many new ones, --most-seconds after so much training.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ADAMW = "optimizer={name: adamw, lr: 3e-3, betas: [0.9, 0.99]}"
START = [
    *("schedule={name: linear, warmup_steps: 20}", "train.max_steps=null", "train.checkpoint_every=null"),
    *("evaluation.every=null", "train.log_every=1", "train.batch_size=256"),
]
STATIC = "model={{config: {{model_type: static, hidden_size: 512, init: {init}}}}}"
RANDOM, LSA = STATIC.format(init="random"), STATIC.format(init="lsa")
VIEW = "objective.view={{name: crops, min_tokens: {least}, max_tokens: {most}}}"
NANO = ["model={preset: modernbert-nano}", "optimizer={name: muon, lr: 1e-3}", "train.batch_size=64"]
SHORT, LONG = (VIEW.format(least=least, most=most) for least, most in ((8, 24), (16, 64)))
OWN: dict[str, list[list[str]]] = {  # what a method alone has
    "crops": [["objective.temperature=0.05"], ["train.batch_size=1024"]],
    "moco": [["objective.momentum=0.99"], ["objective.queue_size=4096"]],
    "simcse": [["objective.view={name: deletion}"], ["objective.view={name: shuffle}"], ["model.dropout=0.3"]],
    "swav": [["objective.num_prototypes=64"], ["objective.projector_width=512", "objective.projector_out=128"]],
    "deepcluster": [["objective.num_clusters=32"], ["objective.refresh_every=20"]],
    "cpc": [["objective.ahead=1"], ["objective.temperature=0.05"]],
    "order": [["objective.segments=2"], ["objective.distance_weight=0"]],
    "tsdae": [["objective.deletion_rate=0.4"], ["objective.deletion_rate=0.8"]],
    "byol": [["objective.momentum=0.9"], ["objective.predictor_width=128"]],
    "simsiam": [["objective.predictor_width=512"], ["train.batch_size=512"]],
    "barlow": [["objective.redundancy=0.02"], ["objective.projector_width=1024"]],
    "vicreg": [["objective.covariance=5"], ["objective.projector_width=1024"]],
    "whitening": [["objective.projector_out=128", "objective.slice_size=256"], ["train.batch_size=512"]],
    "sigreg": [["objective.gaussian=0.02"], ["objective.gaussian=0.2"]],
}


def groups(method: str) -> list[list[list[str]]]:
    """Options to choose from, group by group; the first choice of the first group is where the search begins.

    A method whose views come from dropout has no table to begin with.
    """
    from textssl.config import options_model
    from textssl.objectives import find_objective

    fields = options_model(find_objective(method)).model_fields
    own = OWN.get(method, [])
    if method == "simcse":
        return [[[*NANO, "model.dropout=0.1"]], [["optimizer.lr=3e-3"], ["optimizer.lr=3e-4"]], own]
    few = ["train.batch_size=32"] if method == "tsdae" else []  # its decoder writes every token of every sentence
    short, long = ([[SHORT], [LONG]]) if "view" in fields else ([], [])
    projectors = {"projector_width", "projector_out"} & {name for name in fields if fields[name].default is not None}
    without = [[*(f"objective.{name}=null" for name in sorted(projectors))]] if projectors else []
    return [
        [[RANDOM, ADAMW, *short, *few]],
        without,
        [[LSA]],
        [["optimizer.lr=1e-2"], *([long] if long else [])],
        own,
        [[*NANO, *few]],
    ]


def run(method: str, options: list[str], inputs: Path, seconds: float) -> dict[str, Any]:
    """Train and measure; what goes wrong is a result too."""
    import textssl
    from textssl.errors import UserError
    from textssl.inference.encoders import load_encoder, random_encoder

    given = [f"tokenizer={inputs / 'tok'}", f"data.corpus={inputs / 'corpus'}", f"train.max_seconds={seconds}"]
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
        out = Path(name) / "run"
        try:
            textssl.pretrain(method, [*START, *given, f"out={out}", *options])
        except (UserError, RuntimeError) as error:
            return {"error": str(error)}
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        logged = [line for line in lines if "features/rankme" in line]
        model = out / "model"
        return {
            **probed("probe_8", load_encoder(model, max_tokens=128)),
            **probed("untrained", random_encoder(model, seed=0, max_tokens=128)),
            "steps": logged[-1]["step"],
            "loss": [round(line["train/loss"], 4) for line in logged[:: max(1, len(logged) // 5)]],
            "rankme": round(logged[-1]["features/rankme"], 1),
        }


def probed(name: str, encoder: Any) -> dict[str, Any]:
    """The figure and its interval, on as many texts of bbc as the suite quick takes."""
    from textssl.evaluation.tasks.classification import Classification

    task = Classification("bbc", "sample:bbc", max_train=400, max_test=300, shots=(8,))
    figure = dict(task.run(encoder))["probe_8"]
    return {name: round(figure.mean, 4), f"{name}_interval": [round(figure.low, 4), round(figure.high, 4)]}


def make_inputs(folder: Path) -> None:
    import textssl

    if not (folder / "tok").exists():
        textssl.train_tokenizer(input=["sample:news"], out=folder / "tok", algorithm="wordpiece", lowercase=True)
    if not (folder / "corpus").exists():
        textssl.prepare(input=["sample:news"], tokenizer=str(folder / "tok"), out=folder / "corpus")


def search(method: str, inputs: Path, out: Path, seconds: float, most_seconds: float, runs: int) -> None:
    make_inputs(inputs)
    lines = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    known = {(line["method"], line["seconds"], tuple(line["options"])): line for line in lines}
    best: dict[str, Any] = {"probe_8": 0.0, "options": []}
    spent = made = 0.0
    for group in groups(method):
        base = best["options"]
        for choice in group:
            options = [*base, *choice]
            key = (method, seconds, tuple(options))
            if key not in known:
                if spent + seconds > most_seconds or made >= runs:
                    print(f"{method}: stopped; best so far {best['probe_8']}: {best['options']}")
                    return
                started = time.perf_counter()
                found = {"method": method, "seconds": seconds, "options": options}
                known[key] = found | run(method, options, inputs, seconds)
                known[key]["wall_seconds"] = round(time.perf_counter() - started, 1)
                made += 1
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known[key]) + "\n")
            spent += seconds
            line = known[key]
            print(f"{method}: {line.get('probe_8', line.get('error'))}  {' '.join(choice)}", flush=True)
            if line.get("probe_8", 0.0) > best["probe_8"]:
                best = line
    print(f"{method}: best {best['probe_8']}: {best['options']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+", help="objectives, by their shipped configurations")
    parser.add_argument("--inputs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=45.0, help="of training a run")
    parser.add_argument("--most-seconds", type=float, default=600.0, help="of training, runs made before included")
    parser.add_argument("--runs", type=int, default=1000, help="new runs a method, at most")
    sys.path.insert(0, str(ROOT))
    given = vars(parser.parse_args())
    for name in given.pop("methods"):
        search(name, **given)
