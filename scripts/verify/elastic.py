"""Elastic: runs that go on with 4, 2, 1 and 3 processes, replicated and sharded, against unbroken ones (10 minutes).

Every objective makes 12 steps in float64: on one process, and on two journeys, which a signal stops after some steps
and other processes take up. For each it prints in how many steps all processes together were given the samples of the
unbroken run, each once and shown the same way, and the largest difference of losses (of steps and of held-out text),
of weights and what the objective keeps beside them (queues, teachers, assignments), and of the optimizers' state; all
at most 1e-9. Views of simcse are made by deletion, as dropout differs between ranks.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.training.elastic import FIRST, KEPT, SECOND, STEPS, UNBROKEN, compare, travel  # noqa: E402
from tests.training.worlds import ALL, make_data  # noqa: E402

MOST = 1e-9
JOURNEYS = {"first": FIRST, "second": SECOND}
HEADS = ("objective", "processes", "samples", "losses", "weights", "optimizer", "what it keeps")


def kept(folder: Path, objective: str) -> str:
    """The first words of the names of what an objective keeps from step to step."""
    names = json.loads((folder / f"run-{objective}-unbroken.seen" / KEPT).read_text())
    return ", ".join(dict.fromkeys(name.partition(".")[0] for name in names))


def line(folder: Path, objective: str, journey: str) -> dict:
    """A line of the table, which is printed, with `holds`."""
    result = compare(folder, objective, journey, "unbroken")
    found = {
        "objective": objective,
        "processes": " > ".join(map(str, JOURNEYS[journey])),
        "kept": kept(folder, objective),
        "steps": STEPS,
        **result._asdict(),
        "holds": not result.different_steps and all(one <= MOST for one in result[1:]),
    }
    figures = "".join(f"{one:>10.0e}" for one in result[1:])
    samples = f"{STEPS - len(result.different_steps)} of {STEPS}"
    print(
        f"{objective:16}{found['processes']:38}{samples:>10}{figures}  {found['kept']}"
        f"{'' if found['holds'] else '  FAILED'}",
        flush=True,
    )
    return found


def main(folder: Path, objectives: list[str]) -> int:
    make_data(folder)
    for suffix, legs in {"unbroken": UNBROKEN, **JOURNEYS}.items():
        began = time.monotonic()
        travel(folder, suffix, legs, objectives)
        print(f"{' > '.join(map(str, legs))}: {time.monotonic() - began:.0f} seconds", flush=True)
    print("{:16}{:38}{:>10}{:>10}{:>10}{:>10}  {}".format(*HEADS))
    lines = [line(folder, objective, journey) for objective in objectives for journey in JOURNEYS]
    (folder / "elastic.json").write_text(json.dumps(lines, indent=1) + "\n")
    held = sum(one["holds"] for one in lines)
    print(f"{held} of {len(lines)} hold")
    return int(held < len(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a new folder that keeps all, and the table as elastic.json")
    parser.add_argument("objectives", nargs="*", help=f"of {', '.join(ALL)}; none: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.objectives) - set(ALL):
        parser.error(f"there is no objective {', '.join(sorted(unknown))}")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True)
        sys.exit(main(arguments.out, arguments.objectives or list(ALL)))
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(Path(name), arguments.objectives or list(ALL)))
