"""Faults: full disks, signals, two jobs, each input file damaged: 600 cases of eight commands (15 minutes).

python scripts/verify/faults.py                            all of it
python scripts/verify/faults.py --seed 7 --share 0.1       other moments and places, a tenth of the cases
python scripts/verify/faults.py --kinds signals "two jobs"

The commands that write something (tokenizer train, prepare, pretrain, finetune, evaluate, embed, mine, predict) run on
small inputs as processes of their own, forked from one that has imported everything. A case is right where the command
makes the result that it makes undisturbed, or ends with one clear error and exit code 2 (after a signal: with 75, or
128 + the signal's number within two seconds), leaves nothing half written and nothing behind, and, started again
without the fault, makes the very bytes that it makes undisturbed. Exits 0 where there is no traceback, no hang and no
silent wrong. "Not to be seen" are files that stay valid and say something else: texts, labels, suites, and stock model
folders, none of which has a checksum.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.faults import cases  # noqa: E402
from tests.faults.jobs import COMMANDS, Starter, starter  # noqa: E402
from tests.fuzzing.trial import table  # noqa: E402

DISK_KILOBYTES = (4, 16, 32, 64, 128, 256, 512, 1024)
ROUNDS = 4  # of each signal in each command
Case = tuple[str, Callable[[Path, Starter], cases.Verdict]]


def disk_cases(sound: cases.Sound, random: Random) -> Iterator[Case]:
    for name, command in COMMANDS.items():
        for size in DISK_KILOBYTES:
            yield (
                f"{name}, a disk of {size} kB",
                lambda folder, start, c=command, s=size: small(c, sound, folder, start, s),
            )


def small(command, sound: cases.Sound, folder: Path, start: Starter, size: int) -> cases.Verdict:
    """A small mounted disk, or a limit on the size of files where nothing may be mounted."""
    try:
        return cases.small_mounted_disk(command, sound, folder, start, size)
    except PermissionError:
        return cases.full_disk(command, sound, folder, start, size * 1024)


def read_only_cases(sound: cases.Sound, random: Random) -> Iterator[Case]:
    for name, command in COMMANDS.items():
        yield f"{name}, a read-only disk", lambda folder, start, c=command: cases.read_only(c, sound, folder, start)


def signal_cases(sound: cases.Sound, random: Random) -> Iterator[Case]:
    for name, command in COMMANDS.items():
        for number in cases.SIGNALS:
            for _ in range(ROUNDS):
                moment = random.random()
                yield (
                    f"{name}, signal {number}",
                    lambda folder, start, c=command, n=number, m=moment: cases.stopped(c, sound, folder, start, n, m),
                )


def job_cases(sound: cases.Sound, random: Random) -> Iterator[Case]:
    for name, command in COMMANDS.items():
        for _ in range(ROUNDS):
            moment = random.random()
            yield f"{name} twice", lambda folder, start, c=command, m=moment: cases.two_jobs(c, sound, folder, start, m)


def damage_cases(sound: cases.Sound, random: Random) -> Iterator[Case]:
    for name, command in COMMANDS.items():
        for file in cases.input_files(command, sound):
            for damage in cases.DAMAGES:
                own = Random(random.random())
                yield (
                    f"{name}, {file}: {damage}",
                    lambda folder, start, c=command, f=file, d=damage, r=own: cases.damaged(
                        c, sound, folder, start, f, d, r
                    ),
                )


def unfinished_cases(sound: cases.Sound, random: Random) -> Iterator[Case]:
    for name in ("pretrain", "finetune", "embed"):
        for damage in cases.DAMAGES:
            for place in (0.0, 0.4, 0.8, 1.0):
                own = Random(random.random())
                yield (
                    f"{name}, unfinished: {damage}",
                    lambda folder, start, c=COMMANDS[name], d=damage, p=place, r=own: cases.damaged_run(
                        c, sound, folder, start, p, d, r
                    ),
                )


KINDS: dict[str, Callable[[cases.Sound, Random], Iterator[Case]]] = {
    "full disk": disk_cases,
    "read-only disk": read_only_cases,
    "signals": signal_cases,
    "two jobs": job_cases,
    "damaged inputs": damage_cases,
    "damaged unfinished work": unfinished_cases,
}


def main(seed: int, kinds: list[str], share: float, only: str | None, out: Path | None) -> int:
    counts: dict[str, Counter[str]] = {}
    seconds: dict[str, float] = {}
    faults: list[dict[str, str]] = []
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="textssl-faults-") as name, starter(Path(name)) as start:
        sound = cases.sound_results(Path(name), start)
        print(", ".join(f"{command} {taken:.1f} s" for command, taken in sound.seconds.items()), flush=True)
        for kind in kinds:
            began, ends = time.monotonic(), counts.setdefault(kind, Counter())
            for what, run in sampled(list(KINDS[kind](sound, Random(f"{seed}/{kind}"))), share):
                if only is not None and only not in what:
                    continue
                with cases.case_folder(Path(name)) as folder:
                    outcome, words = run(folder, start)
                ends[outcome] += 1
                if only is not None or outcome in cases.FAULTS:
                    print(f"{outcome}: {what}: {words[-2000:]}", flush=True)
                if outcome in cases.FAULTS:
                    faults.append({"case": what, "outcome": outcome, "words": words})
            seconds[kind] = time.monotonic() - began
    print(table(("fault", "cases"), cases.OUTCOMES, counts, seconds))
    if out is not None:
        result = {"seed": seed, "counts": {kind: dict(ends) for kind, ends in counts.items()}, "faults": faults}
        out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{sum(map(Counter.total, counts.values())) - len(faults)} passed, {len(faults)} failed")
    return int(bool(faults))


def sampled(every: list[Case], share: float) -> list[Case]:
    """A share of the cases, spread evenly over all of them."""
    step = 1 / share
    return [every[int(place * step)] for place in range(round(len(every) * share))]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND")
    parser.add_argument("--share", type=float, default=1.0, help="of the cases")
    parser.add_argument("--only", metavar="WORDS", help="cases whose name has these words")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write counts and faults there")
    sys.exit(main(**vars(parser.parse_args())))
