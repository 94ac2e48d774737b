"""10,000 random files, configurations, command lines: no traceback, no hang, nothing read wrongly (10 minutes).

python scripts/verify/fuzz.py                              all of it
python scripts/verify/fuzz.py --seed 7 --share 0.1         other inputs, a tenth of them
python scripts/verify/fuzz.py --kinds documents pairs      some kinds
python scripts/verify/fuzz.py --kinds documents --only 17  one input again, with its error

Every input is used in a temporary folder and ends in one of five ways: accepted, a clear error (UserError in this
process; exit code 2 with one message from a command line), a traceback, a hang (10 seconds, a command line 60), or a
silent wrong: accepted, and not what Python's json and csv, pyarrow or PyYAML read in the same bytes. Command lines are
processes of their own; most are forked from one that has imported everything, every 25th is started afresh.
Exits 0 where there is no traceback, no hang, no silent wrong, and no file outside of the temporary folder has changed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
SETTINGS = {  # before anything is imported that reads them
    **{"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
    "PYTHONPATH": str(ROOT),
}
COUNTS = {  # kind: inputs
    **{"documents": 3000, "labelled": 1500, "splits": 600, "given_pairs": 1000, "suites": 700},
    **{"vectors": 300, "corpora": 300, "configurations": 1500, "runs": 800, "command lines": 300},
}
AFRESH = 25  # one command line in so many is started with a new interpreter
MEMORY_BYTES = 2**34  # of addresses: what asks for more is refused, not swapped
SHOWN = 3  # faults of a kind whose error is printed


def prepare(sandbox: Path) -> Path:
    """SANDBOX/sound: a tokenizer, a corpus, models and labelled files that are as they should be."""
    from tests.evaluation.folders import save_model
    from tests.labelled import write_pairs, write_topics
    from tests.tiny import make_corpus

    sound = sandbox / "sound"
    sound.mkdir()
    make_corpus(sound)
    for family in ("bert", "llama"):
        save_model(sound / family, family)
    write_topics(sound / "topics.jsonl", 60)
    write_pairs(sound / "pairs.jsonl", scores=False)
    task = {"name": "topics", "kind": "classification", "path": "topics.jsonl", "shots": [2]}
    (sound / "suite.yaml").write_text(json.dumps({"draws": 2, "tasks": [task]}))
    make_classifier(sound)
    return sound


def make_classifier(sound: Path) -> None:
    from rich.console import Console

    from tests.labelled import finetune_config
    from textssl.commands.finetune import finetune

    config = finetune_config(sound, "train.max_steps=1", out="tuned")
    with open(os.devnull, "w") as nowhere:
        finetune(config, console=Console(file=nowhere))
    shutil.move(sound / "tuned" / "model", sound / "classifier")


def in_own_process(function: Callable[[Path], Any], sandbox: Path) -> None:
    """Run a function in a fork, so that the threads that it starts stay out of this process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            function(sandbox)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit("fuzz: the sound folders could not be made")


def makers(sound: Path) -> dict[str, Callable[..., Any]]:
    from tests.fuzzing import readers, settings

    names = ("documents", "labelled", "splits", "given_pairs", "suites")
    return {
        **{name: getattr(readers, name) for name in names},
        "vectors": readers.unfinished_vectors,
        "corpora": readers.Corpora(sound).corpora,
        "configurations": settings.files(sound),
        "runs": settings.runs(sound),
    }


@contextmanager
def server(sandbox: Path) -> Iterator[tuple[str, ...]]:
    """Keep a preloaded process for the block; gives the beginning of a command line that it runs."""
    program, address = ROOT / "tests" / "preloaded.py", sandbox / "socket"
    process = subprocess.Popen(
        [sys.executable, program, "serve", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdout.readline()
    yield sys.executable, "-S", "-E", str(program), "run", str(address)
    process.stdin.close()
    process.wait()


class Campaign:
    """Inputs tried and how they ended."""

    def __init__(self, sandbox: Path, seed: int, only: int | None) -> None:
        self.sandbox, self.seed, self.only = sandbox, seed, only
        self.counts: dict[str, Counter[str]] = {}
        self.faults: list[dict[str, Any]] = []
        self.seconds: dict[str, float] = {}

    def run(self, kind: str, count: int, judge: Callable[[str, int, Path], tuple[Any, str, str]]) -> None:
        """judge: (kind, number, folder) -> outcome, the input in words, the error."""
        from tests.fuzzing.trial import FAULTS

        started, ends = time.monotonic(), self.counts.setdefault(kind, Counter())
        for number in range(count) if self.only is None else [self.only]:
            folder = self.sandbox / "case"
            folder.mkdir()
            os.chdir(folder)
            try:
                outcome, what, error = judge(kind, number, folder)
            except KeyboardInterrupt:  # the table of what was tried is still printed
                print(f"{kind}: stopped before number {number}", flush=True)
                os.chdir(self.sandbox)
                break
            os.chdir(self.sandbox)
            shutil.rmtree(folder, ignore_errors=True)
            ends[outcome] += 1
            if self.only is not None:
                print(f"{kind} {number}: {outcome}\n{what}\n{error}", flush=True)
            elif outcome in FAULTS:
                self.faults.append({"kind": kind, "number": number, "outcome": outcome, "input": what, "error": error})
                if ends[outcome] <= SHOWN:
                    print(f"{kind} --only {number}: {outcome}\n{what[:500]}\n{error[-1500:]}\n", flush=True)
        self.seconds[kind] = time.monotonic() - started

    def table(self) -> str:
        from tests.fuzzing.trial import FAULTS, Outcome, table

        outcomes = (Outcome.accepted, Outcome.refused, *FAULTS)
        return table(("inputs", "tried"), outcomes, self.counts, self.seconds)

    @property
    def failed(self) -> int:
        from tests.fuzzing.trial import FAULTS

        return sum(ends[fault] for ends in self.counts.values() for fault in FAULTS)


def in_process(seed: int, made: dict[str, Callable[..., Any]]):
    from tests.fuzzing.trial import outcome_of, random_of

    def judge(kind: str, number: int, folder: Path) -> tuple[Any, str, str]:
        trial = made[kind](random_of(seed, kind, number), folder)
        outcome, error = outcome_of(trial)
        return outcome, trial.what, error

    return judge


def as_processes(seed: int, sound: Path, preloaded: tuple[str, ...]):
    from tests.fuzzing.command_lines import PLAIN, command_line, outcome_of_line
    from tests.fuzzing.trial import random_of

    def judge(kind: str, number: int, folder: Path) -> tuple[Any, str, str]:
        line = command_line(random_of(seed, kind, number), sound, folder)
        outcome, error = outcome_of_line(line, folder, preloaded if number % AFRESH else PLAIN)
        return outcome, str(line), error

    return judge


def files_of(*folders: Path) -> dict[str, tuple[int, int]]:
    """Size and time of the files of folders, but for what Python and version control keep."""
    found = {}
    for folder in folders:
        for parent, names, files in os.walk(folder):
            names[:] = [name for name in names if name not in ("__pycache__", ".git", ".venv", ".pytest_cache")]
            for name in files:
                try:
                    stat = os.lstat(os.path.join(parent, name))
                except OSError:
                    continue
                found[os.path.join(parent, name)] = (stat.st_size, stat.st_mtime_ns)
    return found


def watched_files(home: Path) -> dict[str, tuple[int, int]]:
    """The files of the repository, and what lies in the home folder and its cache."""
    names = [file for folder in (home, home / ".cache") if folder.is_dir() for file in folder.iterdir()]
    return {**files_of(ROOT), **{str(file): (0, 0) for file in names}}


def main(seed: int, kinds: list[str], share: float, only: int | None, out: Path | None) -> int:
    out = out.absolute() if out is not None else None
    home = Path.home()
    before = watched_files(home)
    with tempfile.TemporaryDirectory(prefix="textssl-fuzz-") as name:
        sandbox = Path(name)
        (sandbox / "tmp").mkdir()
        os.environ.update(
            SETTINGS,
            HOME=str(sandbox / "home"),
            TEXTSSL_CACHE=str(sandbox / "cache"),
            HF_HOME=str(sandbox / "hub"),
            TMPDIR=str(sandbox / "tmp"),
        )
        tempfile.tempdir = None
        print(f"seed {seed}", flush=True)
        in_own_process(prepare, sandbox)
        sound, campaign = sandbox / "sound", Campaign(sandbox, seed, only)
        wanted = {kind: max(1, round(count * share)) for kind, count in COUNTS.items() if kind in kinds}
        if count := wanted.pop("command lines", 0):
            with server(sandbox) as preloaded:
                campaign.run("command lines", count, as_processes(seed, sound, preloaded))
        if wanted:
            import textssl.commands.pretrain  # so that its memory does not count as an input's

            assert textssl
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
            judge = in_process(seed, makers(sound))
            for kind, count in wanted.items():
                campaign.run(kind, count, judge)
                print(f"{kind}: {campaign.seconds[kind]:.0f} s", file=sys.stderr, flush=True)
    after = watched_files(home)
    changed = sorted(file for file in {**before, **after} if before.get(file) != after.get(file))
    print(campaign.table())
    if changed:
        print(f"files outside of the sandbox have changed: {', '.join(changed[:5])}")
    if out is not None:
        counts = {kind: dict(ends) for kind, ends in campaign.counts.items()}
        result = {"seed": seed, "counts": counts, "seconds": campaign.seconds, "faults": campaign.faults}
        out.write_text(json.dumps({**result, "changed": changed}, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(map(Counter.total, campaign.counts.values())) - campaign.failed} passed, {campaign.failed} failed")
    return int(campaign.failed > 0 or bool(changed))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(COUNTS), default=list(COUNTS), metavar="KIND")
    parser.add_argument("--share", type=float, default=1.0, help="of the inputs")
    parser.add_argument("--only", type=int, metavar="N", help="the input of this number alone")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write counts and faults there")
    sys.exit(main(**vars(parser.parse_args())))
