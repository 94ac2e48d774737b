"""What a comparison holds: its settings, one entry for each configuration, model and seed, and the folder they share.

OUT/comparison.json                the settings, which may not change between two starts
OUT/entries/NAME-SEED/             run/ (a run folder), log.txt, a lock while it runs; once it has ended record.json,
                                   and outcomes.npz: its answers to the examples of the suite
OUT/baselines/NAME.json            the baselines, in the same form
OUT/table.csv, results.json, report.html
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from textssl.assembly.comparison.backbones import model_words, placed
from textssl.assembly.datasets import check_tokenizer
from textssl.assembly.tokenizers import open_tokenizer
from textssl.config import load_config
from textssl.data.corpus.corpus import Corpus
from textssl.errors import UserError, excerpt
from textssl.evaluation.suite_file import NAMES as SUITE_NAMES
from textssl.named_configs import find_config
from textssl.objectives import SUPERVISED
from textssl.sections import Config
from textssl.system.checksums import sha256_of
from textssl.system.files import write_text
from textssl.system.locks.lock import Held, Lock
from textssl.tokenizer import framed_hash

SETTINGS, RECORD, OUTCOMES, LOCK = "comparison.json", "record.json", "outcomes.npz", ".entry.lock"
SETTINGS_LOCK, SETTLING_SECONDS = ".comparison.lock", 20
BUDGET = re.compile(r"(?P<number>\d+(?:\.\d*)?(?:e\d+)?)\s*(?P<unit>s|m|min|h|tokens)")
LOGGED = ("train.log_every=5",)  # for the curves of short runs
SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Budget:
    """What every entry may use: seconds of training, or tokens through the backbone."""

    text: str
    key: str
    value: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """From text such as "120s", "10m", "1e6tokens". Raises UserError."""
        found = BUDGET.fullmatch(text.strip())
        if found is None or float(found["number"]) <= 0:
            raise UserError(f"--budget is {excerpt(text)}: write a time or a number of tokens, as 120s or 1e6tokens")
        if found["unit"] == "tokens":
            return cls(text, "train.max_tokens", float(found["number"]))
        return cls(text, "train.max_seconds", float(found["number"]) * SECONDS[found["unit"]])

    @property
    def override(self) -> str:
        """The override that sets the length of a run, in place of the one in its file."""
        return f"{self.key}={self.value:.15g}"


@dataclass(frozen=True)
class Entry:
    """One configuration on one model with one seed.

    name: of its row. given: overrides of the file. config: with these overrides, but for out and seed, which are the
    entry's own. model: its name, for people.
    """

    name: str
    source: str
    seed: int
    given: tuple[str, ...]
    folder: Path
    config: Config
    model: str

    @property
    def words(self) -> str:
        return f"{self.name} (seed {self.seed})"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def record(self) -> Path:
        return self.folder / RECORD

    @property
    def outcomes(self) -> Path:
        return self.folder / OUTCOMES

    @property
    def backbone(self) -> str:
        """The model section as text: entries that share it share their random initialisation."""
        return json.dumps(self.config.model.model_dump(mode="json"), sort_keys=True)

    @property
    def asked(self) -> dict[str, Any]:
        """The configuration that its record is the answer to."""
        return self.config.model_dump(mode="json", exclude={"out", "seed"})

    def read(self) -> dict[str, Any] | None:
        """Its record; None where it has not ended. Raises UserError where that is of another configuration."""
        record = read_record(self.record)
        if record is not None and record.get("asked") != self.asked:
            before = record.get("asked") or {}
            changed = [key for key, value in self.asked.items() if before.get(key) != value]
            raise UserError(
                f"{self.folder} holds a run of {self.source} with another {' and '.join(changed) or 'configuration'}: "
                "choose another --out, or remove that folder to run it again"
            )
        return record


@dataclass(frozen=True)
class Settings:
    """What may not change between two starts in one folder; more configurations and more seeds may come.

    contents: a hash of what stands in the corpus, the tokenizer and the suite's file, by name.
    """

    budget: str
    suite: str
    models: list[str]
    overrides: list[str]
    contents: dict[str, str] = field(default_factory=dict)

    def agree(self, out: Path) -> None:
        """Write them into a new folder; UserError where they differ from what stands there."""
        others = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
        if others and SETTINGS not in others and any(not name.startswith(".") for name in others):
            raise UserError(f"--out {out} holds other files ({', '.join(others[:3])}): choose a new folder")
        out.mkdir(parents=True, exist_ok=True)
        lock = patient_lock(out / SETTINGS_LOCK)  # several machines may begin at once
        try:
            file = out / SETTINGS
            if not file.exists():
                write_text(file, json.dumps(asdict(self), indent=1) + "\n")
            self.check(file)
        finally:
            lock.release()

    def check(self, file: Path) -> None:
        before = read_record(file)
        if before is None:
            raise UserError(f"{file} is damaged: choose another --out")
        known = before.setdefault("contents", {})  # an older version noted none
        other = [name for name, value in self.contents.items() if known.get(name, value) != value]
        if other:
            raise UserError(
                f"--out {file.parent} holds a comparison whose {' and '.join(other)} had another content, and rows of "
                "both would not compare: choose another folder"
            )
        changed = [key for key, value in asdict(self).items() if key != "contents" and before.get(key) != value]
        if changed:
            raise UserError(
                f"--out {file.parent} holds a comparison with another {' and '.join(changed)} "
                f"({', '.join(f'{key}: {before.get(key)}' for key in changed)}): choose another folder"
            )


def patient_lock(file: Path) -> Lock:
    """A lock that others hold for a moment only. Raises UserError where it is held for SETTLING_SECONDS."""
    until = time.monotonic() + SETTLING_SECONDS
    while True:
        try:
            return Lock(file)
        except Held as held:
            if time.monotonic() > until:
                raise UserError(f"{file.parent} is in use by {held}: wait for it, or choose another --out") from None
            time.sleep(0.1)


def make_entries(
    configs: Sequence[str], out: Path, budget: Budget, seeds: int, models: Sequence[str], overrides: Sequence[str]
) -> tuple[list[Entry], list[str]]:
    """Entries in the order given, all first seeds before all second ones, and why others were left out.

    Raises UserError for what cannot be read.
    """
    if not configs:
        raise UserError("there is nothing to compare: name configurations, such as mlm crops simcse")
    if repeated := {one for one in configs if list(configs).count(one) > 1}:
        raise UserError(f"a comparison runs each configuration once: {', '.join(sorted(repeated))} is named twice")
    found: dict[str, tuple[str, Config, tuple[str, ...], str]] = {}
    left_out: list[str] = []
    for model in models:
        for source in configs:
            stem = find_config(Path(source)).stem
            own = load_config(source, overrides)
            if own.objective.get("name") in SUPERVISED:
                if model == models[0]:
                    left_out.append(f"{stem} learns labels: the supervised model stands beside the table anyway")
                continue
            place = placed(own, model, [load_config(other, overrides) for other in configs if other != source])
            if place.reason:
                left_out.append(f"{stem}, {model}: {place.reason}")
                continue
            given = (*LOGGED, *place.overrides, *overrides, budget.override)
            config = load_config(source, given)
            if not config.tokenizer or not config.data.corpus:
                raise UserError(
                    "a comparison needs one tokenizer and one corpus for all: say tokenizer=DIR data.corpus=DIR"
                )
            words = model_words(config.model)
            name = stem if len(models) == 1 else f"{stem}, {words}"
            if name in found and found[name][0] == source:
                continue  # another --model means the same for this one
            number = 2
            while name in found:
                name, number = f"{stem}-{number}", number + 1
            found[name] = (source, config, given, words)
    check_same({name: config for name, (_, config, _, _) in found.items()})
    if not found:
        raise UserError(f"there is nothing to compare: {'; '.join(left_out)}")
    entries = [
        Entry(name, source, number, given, out / "entries" / f"{slug(name)}-{number}", config, words)
        for seed in range(seeds)
        for name, (source, config, given, words) in found.items()
        for number in [config.seed + seed]
    ]
    return entries, left_out


def check_same(configs: Mapping[str, Config]) -> None:
    """UserError where configurations read different text, which would make the comparison unfair."""
    first = next(iter(configs.items()), None)
    for name, config in configs.items():
        assert first is not None
        for key in ("tokenizer", "data.corpus"):
            if config_value(first[1], key) != config_value(config, key):
                raise UserError(f"{first[0]} and {name} have different values of {key}: give one for all, as {key}=DIR")


def read_inputs(config: Config, suite: str) -> dict[str, str]:
    """A hash of the content of tokenizer, corpus and suite's file, by name.

    Raises UserError where tokenizer or corpus of all entries cannot be opened, or do not belong together.
    """
    words, source = open_tokenizer(config)
    corpora = [Corpus.open(share.path) for share in config.data.corpus]
    for corpus in corpora:
        check_tokenizer(corpus, words, source)
    found = {"corpus": " ".join(corpus.fingerprint for corpus in corpora), "tokenizer": framed_hash(words)[:16]}
    return found if suite in SUITE_NAMES else {**found, "suite": sha256_of(Path(suite))[:16]}


def config_value(config: Config, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def slug(name: str) -> str:
    """A name as a folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def read_record(file: Path) -> dict[str, Any] | None:
    """What an ended entry left; None where there is nothing, or half of something."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
