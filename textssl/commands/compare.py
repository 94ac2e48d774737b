"""`textssl compare`: objectives side by side on one corpus at an equal budget, as a table and a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from textssl.assembly.comparison.backbones import OWN
from textssl.assembly.comparison.baselines import baseline_jobs, measured_baselines
from textssl.assembly.comparison.entries import Budget, Entry, Settings, make_entries, read_inputs
from textssl.assembly.comparison.measuring import References, compared_suite, map_texts
from textssl.assembly.comparison.pairs import Seeds, beside_best
from textssl.assembly.comparison.running import Stopped, entry_job, share
from textssl.errors import UserError
from textssl.evaluation.figures.outcomes import load
from textssl.evaluation.suite import Suite, load_suite
from textssl.report.comparison.page import write_page
from textssl.report.comparison.rows import csv_text, make_rows, short_figures, terminal_table
from textssl.system.files import write_text
from textssl.system.progress import working
from textssl.system.terminal import Terminal
from textssl.training.tracking import announce

SIZE = "nano"  # of the transformer that all objectives are compared on
MODEL_KEYS = ("model", "model.preset", "model.config", "model.pretrained")


@dataclass
class Compared:
    """What a comparison gave. rows: of the table, best first. elsewhere: what other processes are still running."""

    out: Path
    stopped_by: str | None = None
    elsewhere: list[str] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


def compare(
    configs: Sequence[str | Path],
    budget: str,
    out: str | Path = "comparison",
    overrides: Sequence[str] = (),
    seeds: int = 1,
    suite: str | Path = "quick",
    model: Sequence[str] = (),
    scratch: bool = True,
    retry: bool = False,
) -> Compared:
    """Train each configuration on the same corpus with the same tokenizer and budget, and measure all alike.

    configs: YAML files or names of `textssl configs list`; `key.sub=value` strings among them are overrides for all,
    such as tokenizer=DIR data.corpus=DIR. budget: of each run, "120s" of training or "1e6tokens" through the backbone.
    seeds: runs of each configuration, the first with the configuration's own seed. suite: as `textssl evaluate` takes
    it. model: what each objective is trained on; several give a row each. A size of transformer (nano where nothing is
    said, of the configuration's own family), a preset (static ones for objectives that need no layers), or "config" for
    each configuration's own. scratch: also train the transformer on labels alone. retry: run again what failed.

    Leaves OUT/report.html, table.csv and results.json. Started again it goes on: what has ended is kept, and a run that
    was interrupted is continued. Several processes, on several machines too, may start the same comparison in one
    folder: each takes what nobody has. A run that fails is a row that says why. Raises UserError.
    """
    out, console = Path(out), Terminal(stderr=True)
    given = [str(config) for config in configs]
    everything = [*overrides, *(config for config in given if "=" in config)]
    own = any(override.partition("=")[0].strip() in MODEL_KEYS for override in everything)
    models = list(dict.fromkeys(model)) or [OWN if own else SIZE]
    if own and models != [OWN]:
        raise UserError("give --model or an override of the model section, not both")
    if seeds < 1:
        raise UserError(f"--seeds is {seeds}, it must be at least 1")
    named = [config for config in given if "=" not in config]
    entries, left_out = make_entries(named, out, Budget.parse(budget), seeds, models, everything)
    tasks = compared_suite(load_suite(suite))
    contents = read_inputs(entries[0].config, str(suite))
    settings = Settings(budget, str(suite), models, everything, contents)
    settings.agree(out)
    for entry in entries:
        entry.read()  # UserError before anything is run
    for reason in left_out:
        announce(console, f"left out: {reason}")
    references, result = References(tasks), Compared(out)

    def beside():
        return baseline_jobs(entries, references, out, console, scratch=scratch)

    def show(*, pairs: bool = False) -> None:
        result.rows = write_tables(out, settings, entries, beside(), tasks, pairs=pairs)

    try:
        held = share([entry_job(entry, references, console, retry=retry) for entry in entries], show)
        held |= share(list(beside().values()))
    except Stopped as stopped:
        result.stopped_by = "a signal"
        announce(console, f"{stopped} was stopped; start again to go on")
        return result
    with working("rows beside the best ones", bar=False):
        show(pairs=True)
    result.elsewhere = list(held)
    terminal = Terminal()
    terminal.print(terminal_table(result.rows, terminal.width))
    for words, who in held.items():
        announce(console, f"{words}: still in progress at {who}; start again when it is done")
    terminal.print(f"Open {out / 'report.html'}; every figure: {out / 'table.csv'}, {out / 'results.json'}")
    return result


def write_tables(
    out: Path, settings: Settings, entries: Sequence[Entry], jobs: dict[str, Any], suite: Suite, *, pairs: bool
) -> list[dict[str, Any]]:
    """OUT/results.json, table.csv and report.html of what has ended; returns rows. pairs: test against the best."""
    records = [(entry, entry.read() or {}) for entry in entries]
    baselines = measured_baselines(jobs, records)
    rows = make_rows([(entry.name, entry.model, record) for entry, record in records], baselines)
    if pairs:
        beside_best(rows, kept_outcomes(entries), list(short_figures(rows)))
    texts, labels = map_texts(suite)
    found = {
        "settings": asdict(settings),
        "rows": rows,
        "entries": {f"{entry.name}-{entry.seed}": record for entry, record in records},
        "baselines": baselines,
        "map": {"texts": [text[:160] for text in texts], "labels": labels},
    }
    write_text(out / "results.json", json.dumps(found, indent=1) + "\n")
    write_text(out / "table.csv", csv_text(rows))
    write_page(out / "report.html", found)
    return rows


def kept_outcomes(entries: Sequence[Entry]) -> Mapping[tuple[str, str], Seeds]:
    """Outcomes of the runs that have ended, by (name, model) and seed; a file that cannot be read counts as none."""
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for entry in entries:
        with suppress(OSError, ValueError):
            found.setdefault((entry.name, entry.model), {})[entry.seed] = load(entry.outcomes)
    return found
