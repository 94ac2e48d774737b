"""Trials of configurations: files, overrides, and all that `pretrain` checks before its first step."""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path
from random import Random
from typing import Any

import yaml
from rich.console import Console

from tests.fuzzing.files import mutated
from tests.fuzzing.readers import odd_setting
from tests.fuzzing.trial import Trial, check
from tests.tiny import MODELS, SENTENCE_MODELS
from textssl.config import flatten, load_config
from textssl.objectives import resolve_objective
from textssl.sections import Config

KEYS = (*flatten(Config().model_dump(mode="json")), "data.corpus.0.weight", "model.config.hidden_size")
OBJECTIVE_KEYS = (
    *("mask_rate", "unit", "span_mean", "temperature", "min_tokens", "max_tokens", "max_gap", "overlap", "queue_size"),
    *("momentum", "matryoshka", "loss", "target", "score_range", "parts", "weight", "projector_width", "symmetric"),
)
ODDITIES = (
    *("train: {max_steps: 5}\ntrain: {max_steps: 6}", "? [a]\n: b", "a: &a [*a]", "<<: {seed: 1}", "x: !!python/none"),
    *("seed: 0x10", "seed: 1_000", "seed: 010", "seed: 1:30", "seed: +7", "seed: .inf", "seed: 2026-01-01", "seed: ~"),
    *(
        "name: no",
        "name: |\n  two\n  lines",
        "name: 'it''s'",
        "out: ''",
        "---\na: 1\n---\nb: 2",
        "%YAML 9.9\n---\na: 1",
    ),
    *("\tseed: 1", "seed: 1 # note", "seed : 1", "seed:1", "- seed: 1", "7", "{", 'name: "\\ud800"', 'name: "\\0"'),
    *(f"x: {'[' * 2000}", "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]", f"seed: {'9' * 5000}", "train:\n", "data: []"),
)
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}


def values_of(rng: Random, sound: Path, out: Path) -> dict[str, Any]:
    """A configuration of a run that takes seconds."""
    name = rng.choice(("mlm", "clm", *SENTENCE_MODELS))
    section = json.loads(json.dumps(SENTENCE_MODELS[name][0])) if name in SENTENCE_MODELS else {"name": name}
    values = {
        "out": str(out / "run"),
        "tokenizer": str(sound / "tokenizer"),
        "data": {"corpus": str(sound / "corpus"), "sequence_length": 64},
        "model": {"config": {**MODELS["llama" if name == "clm" else "modernbert"]}},
        "objective": section,
        "train": {"max_steps": 2, "batch_size": 4},
        "evaluation": {"every": None, "max_rows": 8},
    }
    if name == "simcse":
        values["model"]["dropout"] = 0.1
    if name == "pairs":
        values["data"]["pairs"] = str(sound / "pairs.jsonl")
    return values


def odd_key(rng: Random, values: dict[str, Any]) -> str:
    fields = values["model"].get("config") if isinstance(values.get("model"), dict) else None
    return rng.choice((
        *rng.sample(KEYS, 6),
        *(f"objective.{key}" for key in rng.sample(OBJECTIVE_KEYS, 2)),
        *([f"model.config.{rng.choice(list(fields))}"] if isinstance(fields, dict) and fields else []),
        rng.choice(("", ".", "a", "train", "train.", "train..x", "trian.max_steps", "train.max_step", "[b]", "\x1b[m")),
    ))  # fmt: skip


def value_for(rng: Random) -> Any:
    """A value that a key may well take, or an odd one."""
    return rng.choice((0, 1, 2, 3, 8, 0.1, 0.5, None, True, "x", [1], 100)) if rng.random() < 0.4 else odd_setting(rng)


def put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.get(parent)
        values[parent] = values = dict(inner) if isinstance(inner, dict) else {}
    values[last] = value


def files(sound: Path):
    """The maker of trials of configuration files and overrides as they are read and validated."""

    def make(rng: Random, folder: Path) -> Trial:
        values = values_of(rng, sound, folder)
        changes = rng.choice((0, 1, 1, 2, 3))
        for _ in range(changes):
            put(values, odd_key(rng, values), value_for(rng))
        try:
            text = yaml.safe_dump(values, allow_unicode=rng.random() < 0.5)
        except yaml.YAMLError:
            text = json.dumps(values)
        if rng.random() < 0.25:
            text = rng.choice((f"{text}{rng.choice(ODDITIES)}\n", rng.choice(ODDITIES)))
            changes += 1
        raw = text.encode("utf-8", "surrogatepass")
        if rng.random() < 0.15:
            raw, changes = mutated(rng, raw), changes + 1
        overrides = [override_of(rng, values) for _ in range(rng.choice((0, 0, 1, 2)))]
        file = folder / "run.yaml"
        file.write_bytes(raw)

        def run() -> None:
            config = load_config(file, overrides)
            objective, config.objective = resolve_objective(config.objective)
            written = folder / "config.yaml"
            written.write_text(config.to_yaml(), encoding="utf-8")
            again = load_config(written)
            check(
                again.model_dump(mode="json") == config.model_dump(mode="json"),
                "what is written of it is read as another configuration",
            )
            check(objective is not None, "no objective")
            if not overrides:
                compare(raw, config)

        clean = not changes and not overrides
        return Trial(f"configuration {raw[:600]!r} with {overrides!r:.300}", run, clean)

    return make


def override_of(rng: Random, values: dict[str, Any]) -> str:
    value = value_for(rng)
    text = value if isinstance(value, str) else json.dumps(value)
    return rng.choice((f"{odd_key(rng, values)}={text}", text, f"={text}", f"{odd_key(rng, values)}"))


def compare(raw: bytes, config: Config) -> None:
    """Each number and text of an accepted configuration is the one that PyYAML reads in the file."""
    try:
        given = yaml.safe_load(raw.decode("utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError):
        return
    if not isinstance(given, dict):
        return
    kept = config.model_dump(mode="json")
    for key, value in flatten(given).items():
        inner: Any = kept
        for part in key.split(".") if isinstance(key, str) else ():
            inner = inner.get(part) if isinstance(inner, dict) else None
        check(alike(value, inner), f"{key} is {value!r:.200} in the file and {inner!r:.200} in the configuration")


def alike(given: Any, kept: Any) -> bool:
    if kept is None or isinstance(kept, list | dict | bool):
        return True
    if isinstance(given, bool):
        return False  # a truth value is no number
    if isinstance(kept, int | float):
        try:
            return math.isclose(float(given), kept)
        except (TypeError, ValueError, OverflowError):
            return False
    return given == kept


def runs(sound: Path):
    """The maker of trials of all that `pretrain` checks and builds before its first step."""

    def make(rng: Random, folder: Path) -> Trial:
        values = values_of(rng, sound, folder)
        changes = rng.choice((0, 1, 1, 1, 2))
        for _ in range(changes):
            put(values, odd_key(rng, values), value_for(rng))
        text = json.dumps(values)
        file = folder / "run.yaml"
        file.write_text(text, encoding="utf-8")

        def run() -> None:
            from textssl.assembly.pretraining import assemble
            from textssl.assembly.runs import start_accelerator

            config = load_config(file)
            objective, config.objective = resolve_objective(config.objective)
            accelerator = start_accelerator(config)
            config.out = str(folder / "run")
            trainer, _, _ = assemble(config, objective, accelerator, Console(file=io.StringIO()))
            check(not (folder / "run" / "model").exists(), "something was written")
            check(trainer.run == folder / "run", f"the run folder is {trainer.run}")
            shutil.rmtree(folder / "run", ignore_errors=True)

        return Trial(f"run {text[:600]}", run, clean=changes == 0)

    return make
