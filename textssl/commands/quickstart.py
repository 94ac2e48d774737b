"""`textssl quickstart`: sample news -> tokenizer, corpus, sentence encoder, and its evaluation beside baselines."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from textssl.commands import samples
from textssl.commands.evaluate import evaluate, show_results, write_json
from textssl.commands.prepare import prepare
from textssl.commands.pretrain import pretrain
from textssl.commands.tokenizer import train_tokenizer
from textssl.data.samples.cache import sample_path
from textssl.errors import UserError, printable
from textssl.inference.encoders import load_encoder
from textssl.system.files import check_place, write_text
from textssl.system.terminal import Terminal

TRAIN_STEPS = 400  # two minutes on two idle cores
RECORD = "quickstart.json"
CONFIG = "encoder.yaml"  # the run's configuration, in the same folder
STEPS = ("sample", "tokenizer", "corpus", "encoder", "evaluation", "neighbours")
SENTENCES = (
    "The central bank raised interest rates to slow inflation.",
    "Doctors are testing a new vaccine against the virus.",
    "Britain's exit from the European Union worries car makers.",
    "He scored twice and his team won the match.",
)
NEIGHBOURS = 3


@dataclass
class Quickstart:
    """What came out. stopped_by: name of the signal that ended training early, None for a finished run.

    loss: contrastive, on held-out news, in nats. neighbours: the headlines nearest to a few sentences.
    """

    model: Path
    stopped_by: str | None
    loss: float | None
    neighbours: list[dict[str, Any]] = field(default_factory=list)


def quickstart(out: str | Path = "quickstart", train_steps: int = TRAIN_STEPS) -> Quickstart:
    """Sample news -> tokenizer -> corpus -> sentence encoder -> evaluation beside baselines, all inside `out`.

    The model is out/encoder/model. A step that is finished is reused, training that was stopped is continued; with
    the samples in the cache nothing needs a network. train_steps: of the encoder's training.
    Raises UserError where `out` holds folders that this command did not make.
    """
    out = Path(out)
    check_place(out / RECORD)
    if (out / CONFIG).exists() and not (out / RECORD).exists():
        raise UserError(f"{out / CONFIG} exists and was not made by quickstart: choose another folder with --out")
    steps = Steps(out, Terminal(soft_wrap=True))
    tokenizer, corpus, run = out / "tokenizer", out / "corpus", out / "encoder"
    steps.run("sample", "Fetch the sample news", {"name": "news"}, None, lambda: samples.get("news"))
    steps.run(
        *("tokenizer", "Train a tokenizer on them", TOKENIZER, tokenizer),
        lambda: train_tokenizer(input=["sample:news"], out=tokenizer, **TOKENIZER),
    )
    steps.run(
        *("corpus", "Prepare the corpus", CORPUS, corpus),
        lambda: prepare(input=["sample:news"], tokenizer=tokenizer, out=corpus, **CORPUS),
    )
    config = encoder_config(out, train_steps)
    settings = {key: config[key] for key in ("seed", "model", "objective", "optimizer", "train")}
    steps.run(
        *("encoder", f"Train a sentence encoder for {train_steps:,} steps", settings, run),
        lambda: pretrain(config=write_config(config, out / CONFIG)),
        resumable=True,
        finished=lambda summary: summary.stopped_by is None,
    )
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    result = Quickstart(run / "model", summary["stopped_by"], summary["loss"])
    if result.stopped_by:
        return result
    report = out / "evaluation.json"
    steps.run(
        *("evaluation", "Compare what it learned with plain baselines", {"suite": "quick"}, report),
        lambda: evaluate(model=result.model, suite="quick", baselines=True, out=report, card=True),
        again=lambda: show_results(json.loads(report.read_text(encoding="utf-8")), steps.console),
    )
    near = out / "neighbours.json"
    steps.run(
        *("neighbours", "Look for headlines near a few sentences", {"sentences": list(SENTENCES)}, near),
        lambda: demonstrate(result.model, near),
    )
    result.neighbours = json.loads(near.read_text(encoding="utf-8"))
    show_neighbours(result.neighbours, steps.console)
    conclude(out, result, steps)
    return result


def demonstrate(model: Path, out: Path) -> list[dict[str, Any]]:
    """The headlines of the sample news that lie nearest to a few sentences, printed and written to `out`.

    Only the articles below the headlines were trained on.
    """
    titles = list(dict.fromkeys(title for title in headlines() if title))
    encoder = load_encoder(model)
    cosines = encoder.embed(SENTENCES) @ encoder.embed(titles).T
    found = []
    for sentence, row in zip(SENTENCES, cosines, strict=True):
        nearest = np.argsort(-row, kind="stable")[:NEIGHBOURS]
        near = [{"headline": titles[place], "cosine": round(float(row[place]), 3)} for place in nearest]
        found.append({"sentence": sentence, "nearest": near})
    write_json(found, out)
    return found


def headlines() -> list[str]:
    lines = sample_path("sample:news").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["title"] for line in lines]


def show_neighbours(found: list[dict[str, Any]], console: Console) -> None:
    for one in found:
        console.print(one["sentence"], style="bold")
        for near in one["nearest"]:
            console.print(f"  {near['cosine']:.2f}  {printable(near['headline'])}")


def conclude(out: Path, result: Quickstart, steps: Steps) -> None:
    """Print what to do next, with the model and with one's own text."""
    steps.console.rule()
    steps.say(f"A sentence encoder is in {result.model}; all steps took {steps.seconds / 60:.1f} minutes. Use it:")
    textssl = command()
    steps.say(f"  {textssl} embed --model {result.model} --input my-texts --out vectors.npy")
    steps.say(f'  SentenceTransformer("{result.model}").encode(["a sentence"])')
    steps.say("With your own text in the folder my-texts, next:")
    steps.say(f"  {textssl} tokenizer train --input my-texts --out mine/tokenizer --algorithm wordpiece --lowercase")
    steps.say(f"  {textssl} prepare --input my-texts --tokenizer mine/tokenizer --out mine/corpus")
    keys = "tokenizer=mine/tokenizer data.corpus=mine/corpus out=mine/encoder"
    steps.say(f"  {textssl} pretrain {out / CONFIG} {keys}")


def command() -> str:
    """`textssl` as it can be typed here: by its path where the environment is not activated."""
    if shutil.which("textssl"):
        return "textssl"
    script = Path(sys.executable).parent / "textssl"
    return os.path.relpath(script) if script.exists() else f"{os.path.relpath(sys.executable)} -m textssl"


TOKENIZER: dict[str, Any] = {"algorithm": "wordpiece", "vocab_size": 8192, "lowercase": True}
CORPUS: dict[str, Any] = {"held_out": 0.03}  # of 3,781 articles


def encoder_config(out: Path, train_steps: int) -> dict[str, Any]:
    """The run's configuration; written to out/encoder.yaml, where it can be read, changed and used again."""
    return {
        "name": "quickstart",
        "out": str(out / "encoder"),
        "seed": 0,
        "tokenizer": str(out / "tokenizer"),
        "data": {"corpus": str(out / "corpus")},
        "model": {"preset": "static-base"},
        "objective": {
            "name": "crops",
            "view": {"min_tokens": 16, "max_tokens": 64, "max_gap": 64},
            "temperature": 0.07,
        },
        "optimizer": {"name": "adamw", "lr": 3e-3, "betas": [0.9, 0.99]},
        "schedule": {"name": "linear", "warmup_steps": 50},
        "train": {"max_steps": train_steps, "batch_size": 1024, "log_every": 20, "checkpoint_every": 200},
    }


def write_config(config: dict[str, Any], path: Path) -> Path:
    header = "# Written by `textssl quickstart`. To train again: textssl pretrain THIS_FILE out=ANOTHER_FOLDER\n"
    return write_text(path, header + yaml.safe_dump(config, sort_keys=False))


@dataclass
class Steps:
    """Runs numbered steps, times them, and remembers in out/quickstart.json which are finished with what settings."""

    out: Path
    console: Console
    renewed: bool = False  # an earlier step ran just now, so what later steps made before is stale
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        file = self.out / RECORD
        self.records = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    def run(
        self,
        name: str,
        title: str,
        settings: dict[str, Any],
        made: Path | None,
        work: Callable[[], Any],
        resumable: bool = False,
        finished: Callable[[Any], bool] = lambda result: True,
        again: Callable[[], None] = lambda: None,
    ) -> None:
        """Do one step unless it is done.

        made: the file or folder that the step leaves (None: the step is quick to repeat and is always run).
        finished: tells from what `work` returned whether the step is done. again: what to show of a reused step.
        """
        self.console.rule(f"{STEPS.index(name) + 1}/{len(STEPS)}  {title}", align="left")
        record = self.records.get(name, {})
        same = record.get("settings") == settings and not self.renewed
        if made is not None:
            if same and record["finished"] and made.exists():
                again()
                self.say(f"reused: {made}, made in {record['seconds']:.0f} s")
                return
            if made.exists() and not (same and resumable):
                self.clear(made, ours=bool(record))
            self.renewed = True
            self.note(name, settings=settings, finished=False, seconds=0.0)
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        if finished(result):
            self.note(name, settings=settings, finished=True, seconds=round(seconds, 1))
            self.say(f"done in {seconds:.0f} s")

    def say(self, text: str) -> None:
        self.console.print(text)

    def clear(self, made: Path, ours: bool) -> None:
        """Remove what an earlier quickstart left unfinished or made with other settings; never anything else."""
        if not ours:
            raise UserError(f"{made} exists and was not made by quickstart: choose another folder with --out")
        shutil.rmtree(made) if made.is_dir() else made.unlink()

    def note(self, name: str, **record: Any) -> None:
        self.records[name] = record
        write_text(self.out / RECORD, json.dumps(self.records, indent=2) + "\n")

    @property
    def seconds(self) -> float:
        """Time that the finished steps took, reused ones included."""
        return sum(record["seconds"] for record in self.records.values())
