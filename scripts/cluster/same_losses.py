"""Whether two runs have the same losses, step by step, to 1e-5: prints the largest difference, exits 1 where not."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

CLOSE = 1e-5


def losses(run: Path) -> dict[int, float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["step"]: line["train/loss"] for line in lines if "train/loss" in line}


def main(one: Path, other: Path, processes: list[int], *, resumed: bool) -> int:
    first, second = losses(one), losses(other)
    summaries = [json.loads((run / "summary.json").read_text(encoding="utf-8")) for run in (one, other)]
    if first.keys() != second.keys() or not first:
        print(f"{one} logged {len(first)} steps, {other} {len(second)}", file=sys.stderr)
        return 1
    if [summary["num_processes"] for summary in summaries] != processes:
        print(f"processes: {[summary['num_processes'] for summary in summaries]}, not {processes}", file=sys.stderr)
        return 1
    if resumed and not summaries[1]["resumed_from"]:
        print(f"{other} was not resumed", file=sys.stderr)
        return 1
    worst = max(abs(first[step] - second[step]) for step in first)
    words = f", resumed from step {summaries[1]['resumed_from']}" if resumed else ""
    print(
        f"{len(first)} steps, loss {first[min(first)]:.4f} to {first[max(first)]:.4f}; "
        f"{processes[0]} process and {processes[1]} differ by {worst:.1e} at most{words}"
    )
    return int(worst > CLOSE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--processes", type=int, nargs=2, required=True, help="how many trained each")
    parser.add_argument("--resumed", action="store_true", help="the second one must have been interrupted")
    given = parser.parse_args()
    sys.exit(main(given.one, given.other, given.processes, resumed=given.resumed))
